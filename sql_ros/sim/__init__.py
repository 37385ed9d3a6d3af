"""The simulated arm: MuJoCo behind the same three command modes as a real one.

Knows no reward, no ROS and no torch.
"""
