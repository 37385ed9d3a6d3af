"""Checks of the project.

`verify` checks correctness, `bench` speed, `stress` robustness, `stops` the stops of a moving arm,
and `drivers` the stack beside simulated drivers of real arms.
"""
