"""Detect that an arm that is held by position commands was moved: by hand, in freedrive, or by
brakes that slip.

Its controller would drive it back to the last command, at the full speed of its servo, as soon as
it can. So once the arm has come to rest elsewhere, the command has to follow it, once.

A servo without an integrator rests beside its command because of its load. So only a change after
rest was measured counts. Otherwise the arm would be let down step by step. A single position that
differs is no motion: a second publisher of the arm's states sends such positions.
"""

from __future__ import annotations

import numpy as np

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.driver.following import LEAD_RAD, SETTLED_S

RESTS_RAD_S = 0.02  # a slower joint is at rest


class HeldPose:
    """Remember where the arm came to rest, and detect that it rests elsewhere. Call it once per
    control step.

    Args:
        latency_s: Latency of the arm, by which the measurement of rest takes longer [s].
    """

    def __init__(self, latency_s: float) -> None:
        self._settles_s = SETTLED_S + latency_s
        self.forget()

    def forget(self) -> None:
        """Forget where the arm came to rest; the next pose of rest counts instead."""
        self._pose: Vector | None = None  # first pose of rest
        self.interrupt()

    def interrupt(self) -> None:
        """Restart the measurement of the present rest, because the arm moves or states may be
        of two arms.
        """
        self._since = 0.0  # begin of the current rest [s]
        self._rests_at: Vector | None = None  # pose at that time; None: the arm does not rest

    def was_moved(self, state: RobotState, now: float, *, is_told_to_rest: bool) -> bool:
        """Return whether the arm has come to rest more than `LEAD_RAD` from where it first rested.

        The arm counts as resting after `SETTLED_S` plus the latency. If true is returned, the first
        pose is forgotten, so that a motion is reported once.

        Args:
            state: The last state of the arm.
            now: Control time [s].
            is_told_to_rest: The last command asks for no motion. If false, everything is forgotten.
        """
        if not is_told_to_rest:
            self.forget()
            return False
        if np.abs(state.velocity).max() >= RESTS_RAD_S:
            self.interrupt()
            return False
        if self._rests_at is None or np.abs(state.position - self._rests_at).max() > LEAD_RAD:
            self._since = now
            self._rests_at = state.position
        if now - self._since < self._settles_s:
            return False
        if self._pose is None:
            self._pose = state.position
        if np.abs(state.position - self._pose).max() <= LEAD_RAD:
            return False
        self.forget()
        return True
