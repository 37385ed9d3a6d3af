"""Detect that states come more slowly than control steps are made."""

from __future__ import annotations

WINDOW_S = 3.0  # time over which the rate is measured, at least 20 control periods
LEAST_SHARE = 0.9  # states that come at a smaller share of the control rate are slow
GAP_PERIODS = 10.0  # a longer silence, in control periods, restarts the window


class StateRate:
    """Measure the rate of new states, window by window. Control times are given by the caller [s].

    Args:
        period_s: Control period [s].

    Attributes:
        is_slow: Whether the states of the last full window came at less than `LEAST_SHARE` of the
            control rate.
        rate_hz: Rate of the states in the last full window [Hz]; 0 before its end.
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
        """Take a new state. At the end of a window, update `is_slow` and `rate_hz`.

        A silence of more than `GAP_PERIODS` control periods restarts the window.

        Args:
            now: Control time of its arrival [s].

        Returns:
            Whether `is_slow` changed to true with this state.
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
