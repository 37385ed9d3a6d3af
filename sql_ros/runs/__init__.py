"""Evaluation, metrics, curves, pictures and report of a run. No ROS."""
