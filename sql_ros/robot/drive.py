"""From actions to commands: scale, choose among candidates, filter. The actor and the Gymnasium environment share this."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.homing import approach, spring
from sql_ros.robot.safety import Admission, SafetyFilter
from sql_ros.robot.task import Task

Action = npt.NDArray[np.float32]


class Driven(NamedTuple):
    """What became of an action. The arm waits for the command alone; the rest is reckoned when it is asked for.

    Attributes:
        command: to send (N,).
        wanted: the action chosen, as it came (A,).
        origin: what an action is counted from, (N,) or 0.
        scale: command at action 1 (N,).
    """

    command: Vector
    wanted: Action
    origin: Vector | float
    scale: Vector

    @property
    def action(self) -> Action:
        """That was chosen, before the filter (A,).

        It is what is learned from, the filter being a part of the world: what comes out of the filter would leave the actions that it
        changes without an example, and nothing to correct what Q thinks of them.
        """
        return _within_one(self.wanted).astype(np.float32)

    @property
    def applied(self) -> Action:
        """That the command amounts to (A,): what counts for the reward."""
        return _within_one((self.command - self.origin) / self.scale).astype(np.float32)


class Drive:
    """Drives an arm as a task says, through the safety filter.

    Args:
        task: gives arm, command mode, scale, rate and scene.

    Attributes:
        safety: the filter that every command passes.
    """

    def __init__(self, task: Task) -> None:
        config = task.config
        self._mode = config.command_mode
        self._scale = np.array(config.action_scale)
        self._robot = task.robot
        self.safety = SafetyFilter(task.robot, config.command_mode, 1.0 / config.control_rate_hz, config.scene)

    def act(self, action: Action, state: RobotState, others: Callable[[], Iterable[Action]] | None = None) -> Driven:
        """What is sent for an action (A,) in [-1, 1].

        Args:
            action: that the policy wants.
            state: of the arm.
            others: further candidates, asked for where a limit of place (joint position, something near, tool speed) forbids what the first
                one wants. One that is allowed goes before any that would have to be changed (safety-first sampling), else the one that
                needs the least correction.
        """
        wanted, chosen = action, self._consider(action, state)
        if chosen.is_elsewhere and others is not None:
            self.safety.interventions["resampled"] += 1
            for candidate in others():
                admission = self._consider(candidate, state)
                if "non_finite" in admission.kinds:  # braking instead of it may be the smallest change of all
                    continue
                if (admission.is_elsewhere, admission.correction) < (chosen.is_elsewhere, chosen.correction):
                    wanted, chosen = candidate, admission
                if not chosen.is_elsewhere:
                    break
        return Driven(self.safety.send(chosen), wanted, self._origin(state), self._scale)

    def approach(self, pose: Vector, state: RobotState, joints: str = "all") -> Vector:
        """The command (N,) on the way to a pose [rad] (N,).

        Args:
            pose: where to.
            state: of the arm.
            joints: that go there: "all", "near" the base (up to the elbow) or "far" from it; the others stay where they are.
        """
        if joints != "all":
            near = np.arange(len(pose)) < (len(pose) + 1) // 2
            pose = np.where(near if joints == "near" else ~near, pose, state.position)
        if self._mode == "torque":
            return self.safety.admit(spring(pose, state), state)
        return self.safety.steer(approach(pose, state, self._robot), state)

    def release(self, state: RobotState) -> Vector:
        """The command (N,) that leaves the arm alone: no torque, or no motion."""
        if self._mode == "torque":
            return self.safety.admit(np.zeros(len(state.position)), state)
        return self.safety.hold(state)

    def _consider(self, action: Action, state: RobotState) -> Admission:
        return self.safety.consider(self._origin(state) + self._scale * _within_one(np.asarray(action, np.float64)), state)

    def _origin(self, state: RobotState) -> Vector | float:
        """What an action is counted from: a position command from where the arm is, others from 0."""
        return state.position if self._mode == "position" else 0.0


def _within_one(action: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """As np.clip to [-1, 1], which takes longer for so few values."""
    within: npt.NDArray[Any] = np.minimum(np.maximum(action, -1.0), 1.0)
    return within
