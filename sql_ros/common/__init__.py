"""Parts that every room may use: configuration, errors, files, logs, tables and plots.

No torch, no MuJoCo, no ROS.
"""
