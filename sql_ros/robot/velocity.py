"""Compute joint velocities from positions, for drivers that measure none."""

from __future__ import annotations

from collections import deque

import numpy as np

from sql_ros.robot.arm import Vector

WINDOW_NS = 14_000_000  # least span of the samples: two periods at 125 Hz, less jitter
MEAN_WINDOW_S = 0.016  # mean span of the samples at 125 Hz
LONGEST_GAP_NS = 100_000_000  # a longer gap restarts the window: the motion in it is unknown


class PositionDifferentiator:
    """Average the joint velocities over the last `WINDOW_NS`, from the difference of two positions.

    This is a causal filter of finite length. It is exact at constant speed, also at irregular
    intervals. It lags by half the window: 8 ms at 125 Hz and above, half an interval where states
    come less often.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[int, Vector]] = deque()  # stamp [ns] and positions (N,)

    def velocity(self, stamp_ns: int, position: Vector) -> Vector | None:
        """Take a position sample, and return the average velocity (N,) [rad/s].

        A sample that is not newer than the last one is ignored. A gap of more than `LONGEST_GAP_NS`
        in either direction restarts the window.

        Args:
            stamp_ns: Time of measurement [ns].
            position: Joint positions (N,) [rad].

        Returns:
            None while the samples span less than the window.
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
        """Return the velocity between the first and the last sample (N,) [rad/s].

        Returns:
            None while the samples span less than the window.
        """
        first_ns, first = self._samples[0]
        last_ns, last = self._samples[-1]
        if last_ns - first_ns < WINDOW_NS:
            return None
        return (last - first) / (1e-9 * (last_ns - first_ns))


def late_shares(period_s: float) -> list[float]:
    """Return which shares of recent velocity changes are missing in the averaged velocity.

    The present velocity is the averaged velocity plus, for each recent period, the change of
    velocity in this period times its share.

    Args:
        period_s: Control period [s]. The velocity is assumed to change evenly within it.

    Returns:
        A share in [0, 1] for each period that the window covers, the last period first.
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
