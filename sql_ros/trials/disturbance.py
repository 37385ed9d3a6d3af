"""The disturbances of an arm, as trials, messages and the simulation name them."""

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
"""Units of `Disturbance.size`, in order: N, kg, factor, factor, control steps, share of the states,
m. `over` ends the disturbance that lasts; `reset` also puts the arm into its neutral pose. Both
have no size."""
ENDINGS = ("over", "reset")  # kinds that end a disturbance
LARGEST = 1e4  # largest size, in any unit


@dataclass(frozen=True)
class Disturbance:
    """A disturbance of the arm or the task.

    A push ends by itself. Other disturbances last until "over", or until the next episode.

    Attributes:
        kind: One of `KINDS`.
        size: Size in the unit of the kind.
        body: Name of the body that is pushed; empty for other kinds.
        vector: Force of a push, or new position of the target of "moved_target", in the base frame
            (3,) [N] or [m]; zeros for other kinds.
        duration_s: Time of a push at full force [s].
        ramp_s: Time after that in which the force of a push decreases to 0 [s].

    Raises:
        ValueError: The kind is unknown.
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
