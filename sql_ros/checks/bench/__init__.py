"""Speed of the learner beside a port of the published update, SAC of stable-baselines3, and its own
matrix products; timing of the control loop.
"""
