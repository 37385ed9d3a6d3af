"""From actions to commands: scale, choose among candidates, filter.

The actor and the Gymnasium environment share this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.control.homing import approach, spring
from sql_ros.robot.safety.filter import Admission, SafetyFilter
from sql_ros.robot.task import Task

Action = npt.NDArray[np.float32]


class Driven(NamedTuple):
    """An action and the command that it became.

    The arm waits for the command alone. The rest is computed when it is asked for.

    Attributes:
        command: To send (N,), in the unit of the mode.
        wanted: Action selected by the policy (A,).
        origin: Command at action 0, (N,) or 0.
        scale: Difference of the command at action 1 from that (N,).
    """

    command: Vector
    wanted: Action
    origin: Vector | float
    scale: Vector

    @property
    def action(self) -> Action:
        """Return the action selected by the policy, before safety filtering (A,), in [-1, 1].

        It is the one that is learned from: the filter is a part of the environment. With the
        filtered action instead, actions that the filter changes would have no example that
        corrects their Q.
        """
        return _within_one(self.wanted).astype(np.float32)

    @property
    def applied(self) -> Action:
        """Return the action that the command amounts to (A,), in [-1, 1]; the reward uses it."""
        return _within_one((self.command - self.origin) / self.scale).astype(np.float32)


class Drive:
    """Map actions of a task to commands of its arm, through the safety filter.

    Args:
        task: Gives arm, command mode, scale, rate and scene.
        lateness_s: By how much a command may come later than a period after the last one [s].

    Attributes:
        safety: Filter that every command passes.
    """

    def __init__(self, task: Task, lateness_s: float = 0.0) -> None:
        config = task.config
        self._mode = config.command_mode
        self._scale = np.array(config.action_scale)
        self._robot = task.robot
        period_s = 1.0 / config.control_rate_hz
        self.safety = SafetyFilter(
            task.robot, config.command_mode, period_s, config.scene, lateness_s
        )

    def act(
        self,
        action: Action,
        state: RobotState,
        others: Callable[[], Iterable[Action]] | None = None,
    ) -> Driven:
        """Return an action and its command, after safety filtering.

        Args:
            action: Selected by the policy (A,), in [-1, 1].
            state: Of the arm.
            others: Gives further candidates (A,). They are asked for where a limit of place (joint
                position, an obstacle, tool speed) forbids the first one. A candidate that is
                allowed precedes all that would be changed (safety-first sampling); otherwise the
                one with the smallest correction is taken.
        """
        wanted = action
        chosen = self._consider(action, state)
        if chosen.is_elsewhere and others is not None:
            self.safety.interventions["resampled"] += 1
            for candidate in others():
                admission = self._consider(candidate, state)
                # braking instead of it may be the smallest change of all
                if "non_finite" in admission.kinds:
                    continue
                if (admission.is_elsewhere, admission.correction) < (
                    chosen.is_elsewhere,
                    chosen.correction,
                ):
                    wanted, chosen = candidate, admission
                if not chosen.is_elsewhere:
                    break
        return Driven(self.safety.send(chosen), wanted, self._origin(state), self._scale)

    def approach(self, pose: Vector, state: RobotState, joints: str = "all") -> Vector:
        """Return the command (N,) on the way to a pose, in the unit of the mode.

        Args:
            pose: Wanted joint positions (N,) [rad].
            state: Of the arm.
            joints: Those that move: "all", "near" the base (up to the elbow) or "far" from it. The
                others stay where they are.
        """
        if joints != "all":
            near = np.arange(len(pose)) < (len(pose) + 1) // 2
            pose = np.where(near if joints == "near" else ~near, pose, state.position)
        if self._mode == "torque":
            return self.safety.admit(spring(pose, state), state)
        return self.safety.steer(approach(pose, state, self._robot), state)

    def release(self, state: RobotState) -> Vector:
        """Return the command (N,) that leaves the arm alone: no torque, or no motion."""
        if self._mode == "torque":
            return self.safety.admit(np.zeros(len(state.position)), state)
        return self.safety.hold(state)

    def _consider(self, action: Action, state: RobotState) -> Admission:
        """Return the safety filter's answer to an action (A,)."""
        return self.safety.consider(
            self._origin(state) + self._scale * _within_one(np.asarray(action, np.float64)), state
        )

    def _origin(self, state: RobotState) -> Vector | float:
        """Return the command at action 0: joint positions (N,) in position mode, otherwise 0."""
        return state.position if self._mode == "position" else 0.0


def _within_one(action: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return values clipped to [-1, 1]; np.clip takes longer for so few values."""
    within: npt.NDArray[Any] = np.minimum(np.maximum(action, -1.0), 1.0)
    return within
