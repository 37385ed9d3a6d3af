"""Simulated drivers of arms, and a table of cases in which the stack runs beside them.

The drivers are written from the published documentation of ros2_control (joint_state_broadcaster,
joint_trajectory_controller, forward_command_controller, JointGroup controllers), ur_robot_driver,
franka_ros2, ros2_kortex and Intera. Messages are built here from rclpy types, without the
conversions of `sql_ros.nodes`. A simulated driver is called a double. A module marked "pure" uses
no ROS and no clock.

==================  ========================================================================
module              content
==================  ========================================================================
controllers         set-points that a controller makes of commands; pure
plant               joints that follow a controller; pure
recorder            safety figures of a run; pure
verdict             which figures of a run were unsafe; pure
states              a `JointState` as drivers fill it
arms, cases, table  the arms, the cases, and which case is played on which arm in which mode
urdf                descriptions of Universal Robots arms
double              the ROS node; `intera`: the topics that a Sawyer has beside it
stack_under_test    the stack: files, process, terminal output
row, verify         one case from start to verdict; all of them
==================  ========================================================================
"""
