"""Compute joint velocities from positions, for drivers that measure none."""

from __future__ import annotations

from collections import deque

import numpy as np

from sql_ros.robot.arm import Vector

WINDOW_NS = 14_000_000  # two periods at 125 Hz, less jitter
MEAN_WINDOW_S = 0.016  # mean span of the samples at 125 Hz
LONGEST_GAP_NS = 100_000_000  # a longer gap restarts the window: the motion in it is unknown


class PositionDifferentiator:
    """Averages the velocity over the last `WINDOW_NS`, by the difference of two positions.

    It is a causal filter of finite length: exact at constant speed, and as good at irregular
    intervals. It lags by half the window: 8 ms at 125 Hz and above, half a period where states come
    less often.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[int, Vector]] = deque()  # stamp [ns] and positions (N,)

    def velocity(self, stamp_ns: int, position: Vector) -> Vector | None:
        """Take a position and return the average velocity (N,) [rad/s].

        Args:
            stamp_ns: Time of measurement [ns].
            position: Joint positions (N,) [rad].

        Returns:
            None while the samples span less than the window. A sample that is not newer than the
            last one is left out.
        """
        samples = self._samples
        if samples and not 0 < stamp_ns - samples[-1][0] <= LONGEST_GAP_NS:
            if -LONGEST_GAP_NS <= stamp_ns - samples[-1][0] <= 0:
                return self._average()
            samples.clear()
        samples.append((stamp_ns, np.array(position, np.float64)))
        while len(samples) > 2 and stamp_ns - samples[1][0] >= WINDOW_NS:
            samples.popleft()
        return self._average()

    def _average(self) -> Vector | None:
        """Return the velocity (N,) [rad/s] between the first and the last sample; None if they are
        too near.
        """
        first_ns, first = self._samples[0]
        last_ns, last = self._samples[-1]
        if last_ns - first_ns < WINDOW_NS:
            return None
        return (last - first) / (1e-9 * (last_ns - first_ns))


def late_shares(period_s: float) -> list[float]:
    """Compute which shares of recent velocity changes the averaged velocity lacks.

    Args:
        period_s: Control period [s], in which the velocity changes evenly.

    Returns:
        A share for each period, the last period first. The velocity now is the averaged velocity
        plus the sum of the changes in these periods times their shares.
    """
    window_s = MEAN_WINDOW_S
    shares = []
    begin = 0.0
    while begin < window_s:
        end = min(begin + period_s, window_s)
        area = window_s * (end - begin) - 0.5 * (end**2 - begin**2)
        shares.append(area / (window_s * period_s))
        begin += period_s
    return shares
