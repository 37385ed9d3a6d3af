"""Check the task of a user's own code: a short trial of its methods in the model of the arm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np

from sql_ros.common.config import shown
from sql_ros.common.errors import ConfigError
from sql_ros.policy.task_spec import TaskSpec
from sql_ros.policy.transition import LARGEST_INPUT, LARGEST_REWARD
from sql_ros.robot.arm import Arm, RobotState
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.task import Episode, Task, TaskConfig, check_only_tightens, robot_for
from sql_ros.robot.task_kind import reporting

EPISODES = 3  # episodes that are tried
METHODS = ("begin", "observe", "reward", "distance", "is_reached", "is_terminated")
SPEED = 0.1  # joint velocities of the trial, as a share of the limits


def check_task(task: Task, config: TaskConfig, robot: RobotConfig) -> None:
    """Check what the code of a task does, so that a mistake is found before an arm moves.

    The task must leave the arm and its settings as the files have them, state an interface that
    fits the arm, and return values of the right shape and type that are finite. In `EPISODES`
    episodes every method is called at the start pose, at rest and in motion.

    Args:
        task: The task.
        config: Content of the task file, as given to the task.
        robot: Content of the robot file, of which the task had a copy.

    Raises:
        ConfigError: One of these is not so.
        Exception: An exception of the task's code.
    """
    check_only_tightens(config, robot)
    _check_is_unchanged(task, config, robot)
    _check_spec(task)
    arm = Arm(task.robot)
    rng = np.random.default_rng(0)
    for _ in range(EPISODES):
        episode = task.begin(rng)
        _check_episode(task, episode)
        for speed in (0.0, SPEED):
            velocity = speed * np.array(task.robot.velocity_limit)
            state = arm.state(
                1,
                episode.start,
                velocity,
                np.zeros(arm.size),
                {**task.scene_objects, **episode.objects},
            )
            _check_state(task, _read_only(state), episode)


def report_exceptions(task: Task, path: Path) -> None:
    """Make each exception of a task's methods a `ConfigError` of one line, with file and line.

    A process that such an error ends is not started again.

    Args:
        task: The task, whose methods are replaced.
        path: The task file, which the error names.
    """

    def reported(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method whose exceptions are reported."""

        @wraps(method)
        def call(*args: Any) -> Any:
            with reporting(type(task), path):
                return method(*args)

        return call

    for name in METHODS:
        setattr(task, name, reported(getattr(task, name)))


def _check_is_unchanged(task: Task, config: TaskConfig, robot: RobotConfig) -> None:
    """Check that the code of a task changes neither the arm nor the settings.

    Raises:
        ConfigError: It changes one of them, or does not call `super().__init__`.
    """
    name = type(task).__name__
    if not hasattr(task, "robot") or not hasattr(task, "rest_steps"):
        raise ConfigError(f"{name}.__init__ does not call super().__init__(name, config, robot)")
    wanted = robot_for(config, robot)
    changed = [
        field.name
        for field in fields(wanted)
        if getattr(task.robot, field.name) != getattr(wanted, field.name)
    ]
    if changed:
        raise ConfigError(
            f"{name} changes {', '.join(map(repr, changed))} of the arm, expected the values of"
            " robot file and task file: a task only tightens limits, by keys of its file"
        )
    if task.config is not config:
        raise ConfigError(f"{name} changes its settings, expected those of the task file")


def _check_spec(task: Task) -> None:
    """Check the interface that a task states.

    Raises:
        ConfigError: It does not fit the arm and the task file, or contradicts itself.
    """
    name = type(task).__name__
    spec = getattr(task, "spec", None)
    if not isinstance(spec, TaskSpec):
        raise ConfigError(
            f"{name}.__init__ does not set 'spec': self.spec = self._spec(labels, offset, scale)"
        )
    config = task.config
    wanted: dict[str, Any] = {
        "task": task.name,
        "joints": task.robot.joints,
        "command_mode": config.command_mode,
        "action_scale": config.component_scale,
        "action": config.component_labels,
        "control_rate_hz": config.control_rate_hz,
    }
    for key, value in wanted.items():
        if getattr(spec, key) != value:
            raise ConfigError(
                f"{name}.spec has {key} {shown(getattr(spec, key))}, expected {shown(value)}"
            )
    for key in ("observation_offset", "observation_scale"):
        values = getattr(spec, key)
        if len(values) != spec.observation_size:
            raise ConfigError(
                f"{name}.spec has {len(values)} values in {key}, expected one per label of the"
                f" observation: {spec.observation_size}"
            )
        if not np.isfinite(values).all():
            raise ConfigError(f"{name}.spec has values in {key} that are not finite: {values}")
    if min(spec.observation_scale) <= 0.0:
        raise ConfigError(f"{name}.spec has the scale {min(spec.observation_scale)}, expected > 0")
    doubled = {label for label in spec.observation if spec.observation.count(label) > 1}
    if doubled:
        raise ConfigError(f"{name}.spec has the label {min(doubled)!r} twice, expected once")


def _check_episode(task: Task, episode: Any) -> None:
    """Check the episode that a task has drawn.

    Raises:
        ConfigError: It is no `Episode`, or has a start or a target of another shape or type, or
            that is not finite.
    """
    method = f"{type(task).__name__}.begin"
    if type(episode) is not Episode:  # the goal of an operator becomes one, too
        raise ConfigError(f"{method} returns {shown(episode)}, expected a sql_ros.Episode")
    size = len(task.robot.joints)
    _check_array(f"{method} returns a start", episode.start, np.float64, (size,))
    _check_array(f"{method} returns a target", episode.target, np.float64, (3,))
    for name, pose in episode.objects.items():
        if name not in task.scene_objects:
            raise ConfigError(
                f"{method} places {shown(name)}, expected one of 'objects.names':"
                f" {', '.join(task.scene_objects) or 'there are none'}"
            )
        place = f"{method} places {name!r} at"
        _check_array(f"{place} a position", pose.position, np.float64, (3,))
        _check_array(f"{place} a rotation", pose.rotation, np.float64, (3, 3))


def _check_state(task: Task, state: RobotState, episode: Episode) -> None:
    """Call every method of a task in a state, and check the values that it returns.

    Raises:
        ConfigError: A value has another shape or type, is not finite or too large, or differs
            between two calls.
    """
    name = type(task).__name__
    spec = task.spec
    observation = task.observe(state, episode)
    shape = (spec.observation_size,)
    _check_array(f"{name}.observe returns an array", observation, np.float32, shape)
    inputs = np.abs(observation - np.array(spec.observation_offset)) / spec.observation_scale
    if inputs.max() > LARGEST_INPUT:
        label = spec.observation[int(inputs.argmax())]
        raise ConfigError(
            f"{name}.observe returns {observation[inputs.argmax()]:g} for {label!r}, more than"
            f" {LARGEST_INPUT:g} times its scale: a wrong unit or scale?"
        )
    if not np.array_equal(task.observe(state, episode), observation):
        raise ConfigError(f"{name}.observe returns two values for the same state, expected one")
    for filled in (0.0, 1.0):
        action = np.full(spec.action_size, filled, np.float32)
        reward = task.transition_reward(state, action, episode)
        _check_number(f"{name}.reward", reward)
        if abs(reward) > LARGEST_REWARD:
            raise ConfigError(
                f"{name}.reward returns {reward:g}, expected at most {LARGEST_REWARD:g}"
            )
    _check_number(f"{name}.distance", task.distance(state, episode))
    for method in ("is_reached", "is_terminated"):
        answer = getattr(task, method)(state, episode)
        if not isinstance(answer, (bool, np.bool_)):
            raise ConfigError(f"{name}.{method} returns {shown(answer)}, expected True or False")


def _check_array(what: str, value: Any, wanted: type, shape: tuple[int, ...]) -> None:
    """Check type, shape and values of an array.

    Args:
        what: Beginning of the error.
        value: The value, which may be no array.
        wanted: Type of its elements.
        shape: Its shape.

    Raises:
        ConfigError: One of them is another, or a value is not finite.
    """
    if not isinstance(value, np.ndarray):
        raise ConfigError(f"{what} of type {type(value).__name__}, expected a numpy array")
    if value.shape != shape:
        raise ConfigError(f"{what} of shape {value.shape}, expected {shape}")
    if value.dtype != wanted:
        raise ConfigError(f"{what} of {value.dtype}, expected {np.dtype(wanted)}")
    if not np.isfinite(value).all():
        raise ConfigError(f"{what} that is not finite at {np.flatnonzero(~np.isfinite(value))}")


def _check_number(method: str, value: Any) -> None:
    """Check that a method returned a finite number.

    Raises:
        ConfigError: The value is no number, or not finite.
    """
    if not isinstance(value, (float, int, np.floating)) or isinstance(value, bool):
        raise ConfigError(f"{method} returns {shown(value)}, expected a float")
    if not np.isfinite(value):
        raise ConfigError(f"{method} returns {value}, expected a finite number")


def _read_only(state: RobotState) -> RobotState:
    """Make the arrays of a state read-only, and return the state: a task must not change it."""
    for part in (state, *state.objects.values()):
        for value in vars(part).values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
    return state
