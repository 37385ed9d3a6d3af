"""The ROS 2 nodes. rclpy and message types live here only; a node wires, it never computes."""
