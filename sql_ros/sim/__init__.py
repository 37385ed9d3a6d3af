"""The simulated arm: MuJoCo behind the same three command modes as a real arm.

This package knows no reward, and imports neither ROS nor torch.
"""
