"""Driver doubles: nodes that play an arm's ROS 2 driver on the wire, and a table of cases for them.

Written from the published documentation of ros2_control (joint_state_broadcaster, joint_trajectory_controller,
forward_command_controller, JointGroup controllers), ur_robot_driver, franka_ros2, ros2_kortex and
Intera. Messages are built here from rclpy types, apart from the conversions of `sql_ros.nodes`.

==================  ========================================================================
module              content
==================  ========================================================================
controllers         what a controller makes of commands; pure
plant               joints that follow a controller; pure
recorder            what a safety engineer asks of a run; pure
states              a `JointState` as drivers fill it
arms, cases, table  the arms, the cases, and which cases are tried on which arm and in which mode
double              the ROS node; `intera`: what a Sawyer has beside it
stack               the stack under test: files, process, diagnostics
row, verify         one case from start to verdict; all of them
==================  ========================================================================
"""
