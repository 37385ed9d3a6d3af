"""The adapter that checks everything a Gymnasium environment gives to a learner.

One observation that is not a number would make every weight of the networks NaN. When an
environment breaks Gymnasium's interface, `CheckedEnv` raises an error of one line with the
environment and the rule. Training, evaluation and clips all use it.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from sql_ros.common.errors import ConfigError, SqlRosError
from sql_ros.policy.task_spec import TaskSpec
from sql_ros.policy.transition import LARGEST_INPUT, LARGEST_REWARD

LARGEST_BOUND = 1e9  # of an action; a larger bound usually stands for no bound
IMPOSED_STEPS = 1000  # length of an episode if the environment states no limit
LONGEST_SHOWN = 200  # characters of a value in an error
FLAG_KINDS = "biu"  # kinds of numpy's dtypes: bool, signed and unsigned integer
NUMBER_KINDS = "biuf"  # the same and float
RULES = {
    "reset": "reset(seed=..., options=...) must return (observation, info)",
    "step": "step(action) must return (observation, reward, terminated, truncated, info)",
}
GYMNASIUM = Path(gymnasium.__file__).parent
_logger = logging.getLogger(__name__)


class CheckedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A wrapper that checks spaces, observations, rewards, flags, infos and actions.

    An episode is truncated after the number of steps that the environment states
    (`max_episode_steps` of its registration, or its attribute of this name). Without one it is
    truncated after `IMPOSED_STEPS`, with a warning at the first time.

    Args:
        env: Environment whose observations are a Box of one dimension, and whose actions are a Box
            of one dimension with finite bounds.
        name: Id of the environment, for errors.

    Attributes:
        name: Id of the environment.

    Raises:
        ConfigError: A space is of another kind, see `check_spaces`.
    """

    def __init__(self, env: Any, name: str) -> None:
        super().__init__(env)
        self.name = name
        check_spaces(env, name)
        self._shape = env.observation_space.shape
        self._actions: gymnasium.spaces.Box[Any] = env.action_space
        spec = own_spec(env)
        scale = np.ones(self._shape) if spec is None else np.abs(spec.observation_scale)
        self._largest = LARGEST_INPUT * scale
        registered = getattr(env.spec, "max_episode_steps", None)
        stated = registered or getattr(env.unwrapped, "max_episode_steps", None)
        self._limit = int(stated or IMPOSED_STEPS)
        self._is_imposed = stated is None
        self._elapsed = 0  # steps of this episode
        self._has_warned = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Seed of the environment's generator; None: the generator goes on.
            options: Options of the environment's reset; None: no options.

        Returns:
            A copy of the observation (S,), and the info.

        Raises:
            ConfigError: The environment raised an exception, or returned something that breaks the
                rules.
        """
        self._elapsed = 0
        result = self._call("reset", lambda: self.env.reset(seed=seed, options=options))
        observation, info = self._parts("reset", result, 2)
        return self._observation(observation), self._info(info)

    def step(
        self, action: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Make one control step.

        If the episode has not terminated, it is truncated at the limit of steps (see the class). At
        an imposed limit a warning is logged the first time.

        Args:
            action: Action (A,) in the units and within the bounds of the environment.

        Returns:
            A copy of the observation (S,), reward, terminated, truncated and info.

        Raises:
            ConfigError: The action is not finite, the environment raised an exception, or it
                returned something that breaks the rules.
        """
        self._check_action(action)
        result = self._call("step", lambda: self.env.step(action))
        observation, reward, terminated, truncated, info = self._parts("step", result, 5)
        self._elapsed += 1
        ended = self._flag("terminated", terminated)
        return (
            self._observation(observation),
            self._reward(reward),
            ended,
            self._flag("truncated", truncated) or self._is_out_of_time(ended),
            self._info(info),
        )

    def unit_step(
        self, action: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Make one control step with an action in the units of a policy.

        Args:
            action: Action (A,). It is clipped to [-1, 1], and mapped linearly to the bounds of the
                environment. For a space of integers the result is rounded.

        Returns:
            A copy of the observation (S,), reward, terminated, truncated and info.

        Raises:
            ConfigError: The action is not finite, the environment raised an exception, or it
                returned something that breaks the rules.
        """
        self._check_action(action)  # before NaN could become an integer
        return self.step(to_env(action, self._actions))

    def success_of(self, info: dict[str, Any]) -> float:
        """Return `is_success` of an info as a number from 0 to 1.

        Args:
            info: Info of a step, with "is_success".

        Raises:
            ConfigError: The value is no number from 0 to 1.
        """
        array = _numbers(info["is_success"], NUMBER_KINDS)
        if array is None or array.size != 1 or not 0.0 <= float(array.item()) <= 1.0:
            raise ConfigError(
                f"the environment '{self.name}' gave is_success = {shown(info['is_success'])} in"
                " its info, expected True or False"
            )
        return float(array.item())

    def close(self) -> None:
        """Close the environment; an exception of its `close` becomes a warning."""
        try:
            super().close()
        except Exception as error:
            _logger.warning("environment '%s': close() raised %s", self.name, described(error))

    def _check_action(self, action: npt.NDArray[Any]) -> None:
        """Raise `ConfigError` if an action (A,) for the environment is not finite."""
        if not np.isfinite(action).all():
            raise self._refusal(f"was to be given the action {shown(action)} by the policy")

    def _call(self, method: str, call: Callable[[], Any]) -> Any:
        """Call a method of the environment and return its result.

        Args:
            method: Name of the method, for errors.
            call: Calls the method.

        Raises:
            ConfigError: The environment raised an exception.
            SqlRosError: The environment raised this error of this library.
        """
        try:
            return call()
        except SqlRosError:
            raise
        except (Exception, SystemExit) as error:
            raise ConfigError(
                f"the environment '{self.name}' raised {described(error)} in {method}()"
                f"{_rule_for(error, method)}"
            ) from error

    def _parts(self, method: str, result: Any, count: int) -> tuple[Any, ...]:
        """Return the result of a method as a tuple.

        Args:
            method: Name of the method, for errors.
            result: Result of the method.
            count: Number of values that the method must return.

        Raises:
            ConfigError: The result is no tuple or list, or has another number of values.
        """
        is_sequence = isinstance(result, (tuple, list))
        if is_sequence and len(result) == count:
            return tuple(result)
        given = f"{len(result)} values" if is_sequence else f"a {type(result).__name__}"
        raise ConfigError(
            f"the environment '{self.name}' returned {given} from {method}(): {RULES[method]}"
        )

    def _observation(self, value: Any) -> npt.NDArray[Any]:
        """Check an observation and return a copy (S,): some environments reuse one array.

        Floats keep their precision, integers become floats.

        Args:
            value: Observation as the environment gave it.

        Raises:
            ConfigError: The value is not numeric, has another shape, or is not finite or too large.
        """
        array = _numbers(value, NUMBER_KINDS)
        if array is None:
            raise self._refusal(f"gave the observation {shown(value)}")
        if array.shape != self._shape:
            raise ConfigError(
                f"the environment '{self.name}' gave an observation of shape {array.shape},"
                f" expected {self._shape} as its observation space says"
            )
        taken: npt.NDArray[Any] = array.astype(array.dtype if array.dtype.kind == "f" else float)
        # a comparison with NaN is false
        if not (np.abs(taken) <= self._largest).all():
            raise self._refusal(
                f"gave the observation {shown(value)}",
                f" up to {LARGEST_INPUT:g} times their scale",
            )
        return taken

    def _reward(self, value: Any) -> float:
        """Check a reward and return it as a float; it may be an array of one number.

        Raises:
            ConfigError: The value is no single number, not finite, or beyond `LARGEST_REWARD`.
        """
        if type(value) is float and abs(value) <= LARGEST_REWARD:
            return value
        array = _numbers(value, NUMBER_KINDS)
        if array is None or array.size != 1 or not abs(float(array.item())) <= LARGEST_REWARD:
            raise self._refusal(f"gave the reward {shown(value)}", f" up to {LARGEST_REWARD:g}")
        return float(array.item())

    def _flag(self, name: str, value: Any) -> bool:
        """Check `terminated` or `truncated` and return it as a bool.

        The value may be a bool, 0, 1, or an array of one of these.

        Args:
            name: Name of the flag, for errors.
            value: Flag as the environment gave it.

        Raises:
            ConfigError: The value is something else.
        """
        if type(value) is bool:
            return value
        array = _numbers(value, FLAG_KINDS)
        if array is None or array.size != 1 or array.item() not in (0, 1):
            raise ConfigError(
                f"the environment '{self.name}' gave {name} = {shown(value)}, expected True or"
                " False"
            )
        return bool(array.item())

    def _info(self, value: Any) -> dict[str, Any]:
        """Return an info; raise `ConfigError` if it is no dict."""
        if not isinstance(value, dict):
            raise ConfigError(
                f"the environment '{self.name}' gave the info {shown(value)}, expected a dict"
            )
        return value

    def _is_out_of_time(self, ended: bool) -> bool:
        """Return whether the episode must be truncated now; warn once if the limit is imposed.

        Args:
            ended: Whether the episode has terminated.
        """
        if ended or self._elapsed < self._limit:
            return False
        if self._is_imposed and not self._has_warned:
            self._has_warned = True
            _logger.warning(
                "environment '%s' states no time limit: its episodes are truncated after %d steps."
                " Register it with max_episode_steps to choose another limit.",
                self.name,
                self._limit,
            )
        return True

    def _refusal(self, fault: str, limits: str = "") -> ConfigError:
        """Return the error for numbers that are not finite or too large.

        Args:
            fault: What the environment did, after its name.
            limits: Text for the end of the error, the allowed size of the numbers.
        """
        return ConfigError(
            f"the environment '{self.name}' {fault}, expected finite numbers{limits}"
        )


def check_spaces(env: Any, name: str) -> None:
    """Check that a learner can use the spaces of an environment.

    Args:
        env: A Gymnasium environment.
        name: Id of the environment, for the error.

    Raises:
        ConfigError: Observations or actions are no Box of one dimension with at least one
            component, or the bounds of the actions are infinite, huge, or leave no range.
    """
    for kind in ("observation", "action"):
        space: Any = getattr(env, f"{kind}_space", None)
        is_vector = isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1
        if not is_vector or space.shape[0] == 0:
            raise ConfigError(
                f"the {kind} space of '{name}' is {shown(space)}, expected a Box of one dimension"
                " with at least one component"
            )
    space = env.action_space
    low = space.low.astype(np.float64)
    high = space.high.astype(np.float64)
    if not (np.abs([low, high]) <= LARGEST_BOUND).all():
        raise ConfigError(
            f"the action space of '{name}' is {shown(space)}, expected finite bounds within"
            f" {LARGEST_BOUND:g}"
        )
    if not (low < high).all():
        raise ConfigError(
            f"the action space of '{name}' is {shown(space)}, expected each lower bound below the"
            " upper one"
        )


def own_spec(env: Any) -> TaskSpec | None:
    """Return the interface that an environment of an arm of this library states.

    Returns:
        The interface, from `env.unwrapped.task.spec`; None for every other environment, also for an
        arm whose observations or actions another shape, an `ObservationWrapper` or an
        `ActionWrapper` has changed.
    """
    spec = getattr(getattr(env.unwrapped, "task", None), "spec", None)
    if not isinstance(spec, TaskSpec):
        return None
    actions = gymnasium.spaces.Box(-1.0, 1.0, (spec.action_size,), np.float32)
    is_whole = env.observation_space.shape == (spec.observation_size,)
    return spec if is_whole and env.action_space == actions and not _is_changed(env) else None


def _is_changed(env: Any) -> bool:
    """Return whether a wrapper of an environment changes its observations or its actions."""
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, (gymnasium.ObservationWrapper, gymnasium.ActionWrapper)):
            return True
        env = env.env
    return False


def to_env(action: npt.NDArray[Any], space: gymnasium.spaces.Box[Any]) -> npt.NDArray[Any]:
    """Map an action from [-1, 1] to the bounds of an environment, linearly per component.

    Args:
        action: Action (A,), clipped to [-1, 1].
        space: Action space of the environment.

    Returns:
        The action (A,) in the dtype of the space, within its bounds. For an integer dtype it is
        rounded.
    """
    is_integer = space.dtype.kind in FLAG_KINDS
    # high - low could overflow in the type of the space
    precision = np.float64 if is_integer else np.result_type(space.dtype, np.float32)
    low = space.low.astype(precision)
    high = space.high.astype(precision)
    share = (np.clip(action, -1.0, 1.0) + 1.0) / 2.0
    value = low + share * (high - low)
    if is_integer:
        value = np.rint(value)
    taken: npt.NDArray[Any] = np.clip(value, low, high).astype(space.dtype)
    return taken


def described(error: BaseException) -> str:
    """Return an exception as one line: type, text, and file and line from which it was raised."""
    text = " ".join(str(error).split())[:LONGEST_SHOWN]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


def shown(value: Any) -> str:
    """Return a value as text without line breaks, cut off after `LONGEST_SHOWN` characters."""
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]} ..."


def _numbers(value: Any, kinds: Sequence[str]) -> npt.NDArray[Any] | None:
    """Return a value as an array; None if the kind of its dtype is not one of `kinds`."""
    try:
        array = np.asarray(value)
    # __array__ of a foreign class may raise any exception, and so does a ragged list
    except Exception:
        return None
    return array if array.dtype.kind in kinds else None


def _rule_for(error: BaseException, method: str) -> str:
    """Return the rule of a method as the end of an error text, if Gymnasium raised the exception.

    A wrapper of Gymnasium fails where it unpacks a wrong result of the environment.

    Args:
        error: Exception of the method.
        method: "reset" or "step".

    Returns:
        ": " and the rule; empty if the exception came from elsewhere.
    """
    frames = traceback.extract_tb(error.__traceback__)
    is_wrapper = bool(frames) and Path(frames[-1].filename).is_relative_to(GYMNASIUM)
    return f": {RULES[method]}" if is_wrapper else ""
