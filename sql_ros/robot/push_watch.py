"""Recognises that somebody pushes the arm, from what any arm measures: where it is and what its joints feel."""

from __future__ import annotations

from collections import deque

import numpy as np

from sql_ros.robot.arm import RobotState, Vector

REMEMBERED = 10  # states that say what is usual
MOVED_RAD, STILL_RAD = 0.02, 0.005  # a joint moved this far from where it had been this still
FELT_NM = 4.0  # more than usual between the torque measured and the one commanded


class PushWatch:
    """Fed with every state from the prompt on.

    A push is seen where a joint that was still has moved, or where a joint's measured torque departs from the commanded one by more than it
    did lately. An arm that measures no torque, or gives back the commanded one, is judged by its motion alone.
    """

    def __init__(self) -> None:
        self._positions: deque[Vector] = deque(maxlen=REMEMBERED)
        self._gaps: deque[Vector] = deque(maxlen=REMEMBERED)
        self._commanded: Vector | None = None

    def sees(self, state: RobotState, commanded: Vector | None) -> bool:
        """Whether the arm is being pushed, by this state.

        Args:
            state: of the arm now.
            commanded: torques (N,) sent in answer to this state [N m]; None: another command mode.
        """
        moved = felt = False
        if len(self._positions) == REMEMBERED:
            usual = np.array(self._positions)
            was_still = np.ptp(usual, axis=0) < STILL_RAD
            moved = bool((was_still & (np.abs(state.position - usual[-1]) > MOVED_RAD)).any())
        if self._commanded is not None:
            gap = state.effort - self._commanded
            if len(self._gaps) == REMEMBERED:
                felt = bool((np.abs(gap - np.mean(self._gaps, axis=0)) > FELT_NM).any())
            self._gaps.append(gap)
        self._positions.append(state.position)
        self._commanded = commanded
        return moved or felt
