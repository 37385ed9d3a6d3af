"""Perturbation trials: protocol, draws, the pushed actor, detector, table and report."""
