"""Detect that the computer was suspended: its boot time goes on, its steady time stands."""

from __future__ import annotations

import time
from collections.abc import Callable

LEAST_S = 0.05


class Suspension:
    """Compares the two clocks at every call.

    Args:
        steady: Clock that stands while the computer is suspended [s].
        boot: Clock that goes on [s].
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
        """Return for how long the computer was suspended since the last call [s]; 0 if it was not.

        The clocks cannot be read at the same instant. The boot time is read between two steady
        times, so that waiting of a busy computer in between is not taken for a suspension.
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
