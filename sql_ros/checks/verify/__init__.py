"""Checks of soft Q-learning against exact answers: finite problems, the soft linear-quadratic
regulator, quadrature on grids.
"""
