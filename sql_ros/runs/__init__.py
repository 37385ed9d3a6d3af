"""What a run does beside learning and acting, and what it leaves behind: evaluation, metrics, curves, pictures, the report. No ROS."""
