"""Turn actions of a policy into commands of the arm: scale, choose among candidates, filter.

The actor of the ROS nodes and the Gymnasium environments share this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sql_ros.robot.action_space import TwistConfig
from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.control.homing import approach, spring
from sql_ros.robot.control.twist import TwistSolver
from sql_ros.robot.safety.filter import Admission, SafetyFilter
from sql_ros.robot.task import Task

Action = npt.NDArray[np.float32]


class AppliedAction(NamedTuple):
    """An action and the command that it became.

    The command is computed before the arm moves. `action` and `applied` are computed on access,
    after the command has left.

    Attributes:
        command: Command to send (N,), in the unit of the command mode, after safety filtering.
        wanted: Action selected by the policy (A,), not yet clipped to [-1, 1].
        as_action: Returns the action that corresponds to the command (A,), not clipped.
    """

    command: Vector
    wanted: Action
    as_action: Callable[[], Vector]

    @property
    def action(self) -> Action:
        """Return the action selected by the policy, before safety filtering, clipped to [-1, 1]
        (A,).

        The learner trains on this action, because the safety filter is part of the environment.
        With the filtered action instead, no transition would correct the Q of actions that the
        filter changes.
        """
        return _within_one(self.wanted).astype(np.float32)

    @property
    def applied(self) -> Action:
        """Return the action that corresponds to the filtered command, clipped to [-1, 1] (A,).

        The reward is computed from this action.
        """
        return _within_one(self.as_action()).astype(np.float32)


class _JointSpace:
    """The action space `joint`: each component is a command of one joint.

    Args:
        task: The task.
        safety: Safety filter of the commands.
    """

    def __init__(self, task: Task, safety: SafetyFilter) -> None:
        self._safety = safety
        self._scale = np.array(task.config.action_scale)
        self._is_position = task.config.command_mode == "position"

    def consider(self, action: Vector, state: RobotState) -> Admission:
        """Return what the safety filter would send for an action (A,) in [-1, 1]."""
        return self._safety.consider(self._origin(state) + self._scale * action, state)

    def translate(self, admission: Admission, state: RobotState) -> Callable[[], Vector]:
        """Return a function that gives the action (A,) of an admitted command in a state."""
        origin = self._origin(state)
        return lambda: np.asarray((admission.command - origin) / self._scale)

    def _origin(self, state: RobotState) -> Vector | float:
        """Return the command at action 0: joint positions (N,) in position mode, otherwise 0."""
        return state.position if self._is_position else 0.0


class _TwistSpace:
    """The action space `twist`: an action is a velocity of the tool, in every command mode.

    The maps of `TwistSolver` are computed once for a state, however many actions are considered.

    Args:
        config: The action space.
        task: The task.
        safety: Safety filter of the commands.
    """

    def __init__(self, config: TwistConfig, task: Task, safety: SafetyFilter) -> None:
        self._safety = safety
        self._solver = TwistSolver(config, task.robot)
        self._state: RobotState | None = None

    def consider(self, action: Vector, state: RobotState) -> Admission:
        """Return what the safety filter would send for an action (A,) in [-1, 1]."""
        if state is not self._state:
            self._solver.prepare(state)
            self._state = state
        return self._safety.consider_direction(self._solver.velocity(action), state)

    def translate(self, admission: Admission, state: RobotState) -> Callable[[], Vector]:
        """Return a function that gives the action (A,) of an admitted command in a state."""
        to_action = self._solver.to_action
        return lambda: np.asarray(to_action @ admission.velocity)


class ActionMapper:
    """Map actions of a task to commands of its arm, through the safety filter.

    Every method that returns a command also records the command in the safety filter as sent. So
    call one of them once per control period, and send what it returns.

    Args:
        task: The task. It gives arm, command mode, action scale, control rate and scene.
        lateness_s: Largest time by which a command may leave later than one period after the last
            one, without the control loop holding the arm [s].

    Attributes:
        safety: Safety filter that every command passes.

    Raises:
        ConfigError: See `SafetyFilter`.
    """

    def __init__(self, task: Task, lateness_s: float = 0.0) -> None:
        config = task.config
        self._mode = config.command_mode
        self._robot = task.robot
        period_s = 1.0 / config.control_rate_hz
        self.safety = SafetyFilter(
            task.robot, config.command_mode, period_s, config.scene, lateness_s
        )
        self._space = (
            _TwistSpace(config.twist, task, self.safety)
            if config.twist
            else _JointSpace(task, self.safety)
        )

    def act(
        self,
        action: Action,
        state: RobotState,
        others: Callable[[], Iterable[Action]] | None = None,
    ) -> AppliedAction:
        """Filter an action, or a better candidate, and record the command as sent.

        The further candidates are drawn and considered only where a limit on positions or distances
        changes the first action ("elsewhere": joint position, obstacle, workspace, speed of tool
        and links). The first candidate that no such limit changes is taken (safety-first sampling).
        If there is none, the one with the smallest `Admission.correction` is taken. A further
        candidate whose command is not finite is never taken. Each search is counted in
        `safety.interventions["resampled"]`. The changes of the chosen command are counted there by
        kind of limit.

        Args:
            action: Action selected by the policy (A,); values outside [-1, 1] are clipped.
            state: The last state of the arm.
            others: Gives further candidates (A,), best first; drawn one by one. None: there are no
                others.

        Returns:
            The chosen action with its command.
        """
        wanted = action
        chosen = self._consider(action, state)
        if chosen.is_elsewhere and others is not None:
            self.safety.interventions["resampled"] += 1
            for candidate in others():
                admission = self._consider(candidate, state)
                # the filter would brake instead of such a candidate, perhaps with the smallest
                # correction of all
                if "non_finite" in admission.kinds:
                    continue
                if (admission.is_elsewhere, admission.correction) < (
                    chosen.is_elsewhere,
                    chosen.correction,
                ):
                    wanted, chosen = candidate, admission
                if not chosen.is_elsewhere:
                    break
        return AppliedAction(self.safety.send(chosen), wanted, self._space.translate(chosen, state))

    def approach(self, pose: Vector, state: RobotState, joints: str = "all") -> Vector:
        """Return the filtered command that moves the arm towards a pose, and record it as sent.

        In position and velocity mode the joints move with `homing.approach`, in torque mode they
        are pulled by `homing.spring`.

        Args:
            pose: Wanted joint positions (N,) [rad].
            state: The last state of the arm.
            joints: Joints that move: "all", "near" (the first half, from the base to the elbow; of
                an odd number the middle one, too) or "far" (the rest). The other joints stay at
                their measured positions.

        Returns:
            Command (N,), in the unit of the command mode.
        """
        if joints != "all":
            near = np.arange(len(pose)) < (len(pose) + 1) // 2
            pose = np.where(near if joints == "near" else ~near, pose, state.position)
        if self._mode == "torque":
            return self.safety.admit(spring(pose, state), state)
        return self.safety.steer(approach(pose, state, self._robot), state)

    def release(self, state: RobotState) -> Vector:
        """Return the filtered command (N,) that leaves the arm alone, and record it as sent.

        The command is zero torque in torque mode, and a hold in the other modes.
        """
        if self._mode == "torque":
            return self.safety.admit(np.zeros(len(state.position)), state)
        return self.safety.hold(state)

    def _consider(self, action: Action, state: RobotState) -> Admission:
        """Return what the safety filter would send for an action (A,), without recording it as
        sent.
        """
        return self._space.consider(_within_one(np.asarray(action, np.float64)), state)


def _within_one(action: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return values clipped to [-1, 1]; np.clip takes longer for so few values."""
    within: npt.NDArray[Any] = np.minimum(np.maximum(action, -1.0), 1.0)
    return within
