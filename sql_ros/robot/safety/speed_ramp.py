"""The share of the speed limits that an arm may use after rest: a tenth at first, all after
`RAMP_S` of motion.

==================  ==================================================
arm                 the ramp begins again with
==================  ==================================================
real or simulated   `~/start`, where one was needed
real                activation; a hold that lasted longer than `HELD_S`
==================  ==================================================

So a person near the arm sees where it goes before it is fast. A simulated arm is slowed down only
after a start, so that trainings in simulation do not change. Times are steady time [s], given by
the caller.
"""

from __future__ import annotations

LEAST_SHARE = 0.1  # share of the speed limits at the beginning
RAMP_S = 2.0  # time of motion until the whole limits may be used
HELD_S = 0.2  # a shorter hold does not begin the ramp: the arm hardly slows down in it


class SpeedRamp:
    """Compute the share of the speed limits from the time for which the arm has moved since it last
    rested.

    One thread calls `update` and `advance` at every control step. Any thread may call `begin`.

    Attributes:
        is_real: The arm is real, so every longer hold and every activation begins the ramp.
    """

    def __init__(self) -> None:
        self.is_real = False
        self._moved_s = RAMP_S
        self._held_since: float | None = None

    def forget(self) -> None:
        """Begin a new activation; for a real arm, begin the ramp."""
        self._held_since = None
        if self.is_real:
            self.begin()

    def begin(self) -> None:
        """Begin the ramp at `LEAST_SHARE`, whatever the arm did before."""
        self._moved_s = 0.0

    def update(self, is_held: bool, now: float) -> None:
        """Take whether this control step is a hold. For a real arm, a hold longer than `HELD_S`
        begins the ramp.

        Args:
            is_held: This control step is a hold.
            now: Steady time [s].
        """
        if not is_held:
            self._held_since = None
        elif self._held_since is None:
            self._held_since = now
        elif self.is_real and now - self._held_since > HELD_S:
            self.begin()

    def advance(self, moved_s: float) -> float:
        """Return the share of the speed limits for a control step that may move the arm, and count
        its motion.

        Args:
            moved_s: Time for which the arm has moved since the last such step [s].

        Returns:
            Share from `LEAST_SHARE` to 1.
        """
        share = LEAST_SHARE + (1.0 - LEAST_SHARE) * min(self._moved_s / RAMP_S, 1.0)
        self._moved_s += moved_s
        return share
