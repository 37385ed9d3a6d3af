"""The arm, its tasks, and the commands that may be sent to it.

It uses numpy and the kinematics of MuJoCo, and imports neither ROS nor torch.
"""
