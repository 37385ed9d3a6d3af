"""What may be done to an arm while it works, to see how it recovers: the words that trials, messages and the simulation share."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("push", "payload", "friction", "damping", "delay", "lost_states", "moved_target", "over", "reset")
"""What `Disturbance.size` is: N, kg, a factor, a factor, control steps, share of the states, m. The last two have none: whatever
lasts ends; the same, and the arm is put to neutral."""
ENDINGS = ("over", "reset")
LARGEST = 1e4  # size, whatever its unit


@dataclass(frozen=True)
class Disturbance:
    """Something done to the arm; what lasts, lasts until it is said to be over, or the next episode.

    Attributes:
        kind: one of `KINDS`.
        size: how much, in the kind's unit.
        body: that is pushed.
        vector: the force of a push in the base frame [N], or where the target moves to [m].
        duration_s, ramp_s: of a push: at full force, and on the way down to none [s].
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
