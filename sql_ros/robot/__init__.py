"""The robot's side: what the arm is, what a task asks, what may be sent. numpy and MuJoCo's kinematics; no ROS, no torch."""
