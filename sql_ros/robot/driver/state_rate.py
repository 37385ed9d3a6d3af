"""Detect that states come more slowly than control steps are made."""

from __future__ import annotations

WINDOW_S = 3.0  # the rate is measured over this time
LEAST_SHARE = 0.9  # a lower share of the control rate is slow
GAP_PERIODS = 10.0  # a longer silence restarts the window


class StateRate:
    """Measures the rate of new states. Times are given by the caller, on the control clock [s].

    Args:
        period_s: Control period [s].

    Attributes:
        is_slow: The states of the last window came too slowly.
        rate_hz: Rate of the states in the last window; 0 before its end [Hz].
    """

    def __init__(self, period_s: float) -> None:
        self._period = period_s
        self._window = max(WINDOW_S, 20.0 * period_s)
        self._began: float | None = None
        self._last = 0.0
        self._count = 0
        self.is_slow = False
        self.rate_hz = 0.0

    def heard(self, now: float) -> bool:
        """Take a new state, and judge the rate at the end of each window.

        A silence of more than `GAP_PERIODS` control periods restarts the window.

        Args:
            now: Control time [s].

        Returns:
            Whether a window ends here in which states came too slowly, after one in which they did
            not.
        """
        if self._began is None or now - self._last > GAP_PERIODS * self._period:
            self._begin(now)
            return False
        self._last = now
        self._count += 1
        passed = now - self._began
        if passed < self._window:
            return False
        was_slow = self.is_slow
        self.rate_hz = self._count / passed
        self.is_slow = self.rate_hz * self._period < LEAST_SHARE
        self._begin(now)
        return self.is_slow and not was_slow

    def _begin(self, now: float) -> None:
        """Start a window at a control time [s]."""
        self._began = now
        self._last = now
        self._count = 0
