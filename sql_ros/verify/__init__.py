"""Soft Q-learning against answers that are known exactly: finite problems, the soft linear-quadratic regulator, quadrature on grids."""
