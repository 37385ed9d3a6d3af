"""Detect a push from the measured motion of the joints and, if there are any, joint torques."""

from __future__ import annotations

from collections import deque

import numpy as np

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.safety.dynamics import Dynamics

REMEMBERED = 20  # number of recent estimates that are kept
# a push differs from the median of the recent estimates by more than LEAST_NM plus TIMES_USUAL
# times their largest difference from it
LEAST_NM = 3.0
TIMES_USUAL = 1.5


class PushDetector:
    """Detects a push. It must be given every state, from `REMEMBERED` states before the push on.

    The external torque is estimated in two ways:

    - the torque that the motion since the last state requires by the arm's dynamics, minus the
      torque of the motors;
    - in torque mode, the measured torque minus the commanded one.

    Both contain contact and friction, so a push is an estimate that differs from the recent ones.
    An arm that measures no torques (NaN), or reports the commanded ones, is judged by the first.

    Args:
        dynamics: Dynamics of the arm over one control period.

    Attributes:
        has_torques: Whether the last state had a measured torque of every joint.
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
        """Return whether there are enough recent estimates to detect a push."""
        return len(self._usual[0]) >= REMEMBERED

    def sees(self, state: RobotState, commanded: Vector | None) -> bool:
        """Take the state of a control step, and return whether it shows a push.

        Args:
            state: The state. If it does not follow the last one by about a control period, because
                states were late or lost, the result is False.
            commanded: Torques that were sent in answer to this state (N,) [N m]; None in another
                command mode than torque.
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
    """Return whether an estimate differs from the recent ones as a push does; append it to them.

    Args:
        torque: Estimated external torque (N,) [N m].
        usual: Recent estimates, (N,) each [N m]; changed in place. While there are fewer than
            `REMEMBERED`, the result is False.
    """
    known = np.array(usual)
    usual.append(torque)
    if len(known) < REMEMBERED:
        return False
    middle = np.median(known, axis=0)
    return bool(
        (np.abs(torque - middle) > LEAST_NM + TIMES_USUAL * np.abs(known - middle).max(0)).any()
    )
