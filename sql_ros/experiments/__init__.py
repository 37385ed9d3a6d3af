"""Experiments without ROS: learning curves on Gymnasium environments, comparisons and ablations."""
