"""The disturbances of an arm at work, as trials, messages and the simulation name them."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = (
    "push",
    "payload",
    "friction",
    "damping",
    "delay",
    "lost_states",
    "moved_target",
    "over",
    "reset",
)
"""Units of `Disturbance.size`: N, kg, a factor, a factor, control steps, share of the states, m.
`over` ends whatever lasts; `reset` also puts the arm to neutral. Both have no size."""
ENDINGS = ("over", "reset")
LARGEST = 1e4  # largest size, in any unit


@dataclass(frozen=True)
class Disturbance:
    """Something done to the arm.

    A disturbance that lasts ends with "over", or with the next episode.

    Attributes:
        kind: One of `KINDS`.
        size: Its size in the unit of the kind.
        body: Name of the body that is pushed.
        vector: Force of a push in the base frame [N], or new position of the target [m].
        duration_s: Time of a push at full force [s].
        ramp_s: Time in which a push decreases to no force [s].
    """

    kind: str
    size: float
    body: str = ""
    vector: tuple[float, float, float] = (0.0, 0.0, 0.0)
    duration_s: float = 0.0
    ramp_s: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"disturbance '{self.kind}', expected one of: {', '.join(KINDS)}")
