"""Checks of the arm behind a driver: whether it takes and obeys commands, and whether it is the arm
of the robot file.
"""
