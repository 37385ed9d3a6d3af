"""Detect that the computer was suspended: meanwhile its boot time advances, and its steady
time does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LEAST_S = 0.05  # a shorter difference of the clocks is no suspension


class Suspension:
    """Compare two clocks at every call of `suspended_s`.

    Args:
        steady: Clock that stands still while the computer is suspended [s].
        boot: Clock that advances meanwhile [s].
    """

    def __init__(
        self,
        steady: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_MONOTONIC),
        boot: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._steady = steady
        self._boot = boot
        self.forget()

    def forget(self) -> None:
        """Ignore suspensions until now."""
        self._most = float("inf")
        self.suspended_s()

    def suspended_s(self) -> float:
        """Return for how long the computer was suspended since the last call [s]; 0 if not, or
        below `LEAST_S`.

        The clocks cannot be read at the same instant. The boot time is read between two steady
        times, so that a delay between the readings is not taken for a suspension.
        """
        before = self._steady()
        boot = self._boot()
        after = self._steady()
        suspended = boot - after - self._most
        if suspended < LEAST_S:
            self._most = min(self._most, boot - before)
            return 0.0
        self._most = boot - before
        return suspended
