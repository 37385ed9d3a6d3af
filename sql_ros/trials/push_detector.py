"""Detect a push from what any arm measures: the motion of its joints and their torques."""

from __future__ import annotations

from collections import deque

import numpy as np

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.safety.dynamics import Dynamics

REMEMBERED = 20  # number of recent estimates
# a push departs from their median by LEAST_NM plus TIMES_USUAL of their largest departure
LEAST_NM = 3.0
TIMES_USUAL = 1.5


class PushDetector:
    """Detects a push; it gets every state from some time before the push on.

    The external torque is estimated in two ways: as the torque that the motion since the last state
    takes by the arm's dynamics, less the torque of its drives; and, where torques are commanded, as
    the measured torque less the commanded one. Both contain contact and friction, so a push is what
    departs from the recent estimates. An arm that measures no torque (NaN), or reports the
    commanded one, is judged by its motion.

    Args:
        dynamics: Dynamics of the arm over one control period.

    Attributes:
        has_torques: The last state had a measured torque of every joint.
    """

    def __init__(self, dynamics: Dynamics) -> None:
        self._dynamics = dynamics
        self._last: RobotState | None = None
        self.has_torques = False
        self._commanded: Vector | None = None
        self._usual: tuple[deque[Vector], deque[Vector]] = (
            deque(maxlen=REMEMBERED),
            deque(maxlen=REMEMBERED),
        )

    @property
    def is_ready(self) -> bool:
        """Return whether there are enough recent estimates."""
        return len(self._usual[0]) >= REMEMBERED

    def sees(self, state: RobotState, commanded: Vector | None) -> bool:
        """Return whether the arm is being pushed, by a new state.

        Args:
            state: The state. One that follows the last by another time than a control period,
                because states were late or lost, is not judged.
            commanded: Torques sent in answer to this state (N,) [N m]; None: another command mode.
        """
        last = self._last
        given = self._commanded
        self._last = state
        self._commanded = commanded
        measured = np.nan_to_num(state.effort)  # zero instead of NaN
        self.has_torques = bool(np.isfinite(state.effort).all())
        if (
            last is None
            or not 0.5 < 1e-9 * (state.stamp_ns - last.stamp_ns) / self._dynamics.period_s < 1.5
        ):
            return False
        drives = given if given is not None else 0.5 * (np.nan_to_num(last.effort) + measured)
        estimates = [
            self._dynamics.torque_for(state.velocity, last.position, last.velocity) - drives
        ]
        if given is not None and self.has_torques:
            estimates.append(measured - given)
        # a list, because both deques have to be extended
        return any([_departs(estimate, usual) for estimate, usual in zip(estimates, self._usual)])


def _departs(torque: Vector, usual: deque[Vector]) -> bool:
    """Return whether a torque departs from the recent ones, and append it to them.

    Args:
        torque: Estimated external torque (N,) [N m].
        usual: Recent estimates (N,), which are extended.
    """
    known = np.array(usual)
    usual.append(torque)
    if len(known) < REMEMBERED:
        return False
    middle = np.median(known, axis=0)
    return bool(
        (np.abs(torque - middle) > LEAST_NM + TIMES_USUAL * np.abs(known - middle).max(0)).any()
    )
