"""Recognises that somebody pushes the arm, from what any arm measures: how its joints move, and what they feel."""

from __future__ import annotations

from collections import deque

import numpy as np

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.dynamics import Dynamics

REMEMBERED = 20  # states that say what is usual
LEAST_NM, TIMES_USUAL = 3.0, 1.5  # a torque from outside counts from the first, and beyond the second of the largest one lately


class PushWatch:
    """Fed with every state from some time before a push on.

    The torque from outside is estimated twice: as what the motion since the last state takes by the arm's dynamics, less what its drives
    gave; and, where torques are commanded, as what the joints measure, less what was commanded. Contact and friction are in both, so a push
    is what departs from what was usual lately. An arm that measures no torque (NaN), or gives back the commanded one, is judged by its
    motion.

    Args:
        dynamics: of the arm, over one control period.

    Attributes:
        has_torques: the last state had a measured torque of every joint.
    """

    def __init__(self, dynamics: Dynamics) -> None:
        self._dynamics = dynamics
        self._last: RobotState | None = None
        self.has_torques = False
        self._commanded: Vector | None = None
        self._usual: tuple[deque[Vector], deque[Vector]] = (deque(maxlen=REMEMBERED), deque(maxlen=REMEMBERED))

    def sees(self, state: RobotState, commanded: Vector | None) -> bool:
        """Whether the arm is being pushed, by this state.

        Args:
            state: of the arm now. What follows the last one by other than a control period, since states were late or lost, says nothing.
            commanded: torques (N,) sent in answer to this state [N m]; None: another command mode.
        """
        last, given = self._last, self._commanded
        self._last, self._commanded = state, commanded
        measured = np.nan_to_num(state.effort)  # zero instead of NaN
        self.has_torques = bool(np.isfinite(state.effort).all())
        if last is None or not 0.5 < 1e-9 * (state.stamp_ns - last.stamp_ns) / self._dynamics.period_s < 1.5:
            return False
        drives = given if given is not None else 0.5 * (np.nan_to_num(last.effort) + measured)
        estimates = [self._dynamics.torque_for(state.velocity, last.position, last.velocity) - drives]
        if given is not None and self.has_torques:
            estimates.append(measured - given)
        # no short cut: both have to remember
        return any([_departs(estimate, usual) for estimate, usual in zip(estimates, self._usual)])


def _departs(torque: Vector, usual: deque[Vector]) -> bool:
    """Whether a torque (N,) is out of what was usual lately; remembers it."""
    known = np.array(usual)
    usual.append(torque)
    if len(known) < REMEMBERED:
        return False
    middle = np.median(known, axis=0)
    return bool((np.abs(torque - middle) > LEAST_NM + TIMES_USUAL * np.abs(known - middle).max(0)).any())
