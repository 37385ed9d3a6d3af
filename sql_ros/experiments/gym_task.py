"""A Gymnasium environment with Box observations and Box actions, as a task of this library."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

import sql_ros.envs  # noqa: F401  (registers sql_ros/...)
from sql_ros.common.errors import ConfigError, SqlRosError
from sql_ros.envs.checked_env import CheckedEnv, described, own_spec, shown
from sql_ros.policy.task_spec import TaskSpec

ARM = "sql_ros/Arm-v0"  # id of the environment of a task file
Vector = npt.NDArray[np.float32]
Wrap = Callable[[Any], Any]  # wraps an environment that is trained in; returns the wrapped one


def make_env(
    env_id: str, *, wrap: Wrap = lambda env: env, render_mode: str | None = None
) -> CheckedEnv:
    """Build an environment by its Gymnasium id, inside the adapter `CheckedEnv`.

    The module that the id names is imported. The working folder then stays at the end of
    `sys.path`.

    Args:
        env_id: A registered id; `module:Id-v0` with a module that registers it; or the path of a
            task file, which stands for `sql_ros/Arm-v0` with this task. The module is looked for in
            the working folder first, then among the installed packages.
        wrap: Wraps the environment before the adapter does.
        render_mode: Render mode of the environment, e.g. "rgb_array"; None: no pictures.

    Returns:
        The environment, which the caller must close.

    Raises:
        ConfigError: There is no such id or module, the environment cannot be built, or a learner
            cannot use its spaces.
    """
    options: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
    made = env_id
    if is_task_file(env_id):
        made = ARM
        options["task"] = env_id
    else:
        _import_module_of(env_id)
    try:
        # the adapter checks more than Gymnasium's own checker, and at every step
        env: Any = gymnasium.make(made, disable_env_checker=True, **options)
    except SqlRosError:
        raise
    except (gymnasium.error.Error, ImportError) as error:
        raise ConfigError(f"Gymnasium cannot make '{env_id}': {shown(error)}") from None
    except (Exception, SystemExit) as error:
        raise ConfigError(f"Gymnasium cannot make '{env_id}': {described(error)}") from error
    try:
        return CheckedEnv(wrap(env), env_id)
    except BaseException:
        with contextlib.suppress(Exception):
            env.close()
        raise


@contextlib.contextmanager
def opened_env(
    env_id: str, *, wrap: Wrap = lambda env: env, render_mode: str | None = None
) -> Iterator[CheckedEnv]:
    """Build an environment as `make_env` does, for a `with` block, and close it at the end.

    Args:
        env_id: Gymnasium id, see `make_env`.
        wrap: Wraps the environment before the adapter does.
        render_mode: Render mode of the environment; None: no pictures.

    Yields:
        The environment.

    Raises:
        ConfigError: The environment cannot be built, see `make_env`.
    """
    env = make_env(env_id, wrap=wrap, render_mode=render_mode)
    try:
        yield env
    finally:
        env.close()


def is_task_file(env_id: str) -> bool:
    """Return whether the name of an environment is the path of a task file."""
    return env_id.endswith(".yaml")


def spec_of(env: Any) -> TaskSpec:
    """Return the interface of an environment.

    An arm of this library states its own interface. For another environment the components are
    called o0, o1, ... and a0, a1, ..., observations are not scaled, and `action_scale` is half of
    the range of the actions.

    Args:
        env: A Gymnasium environment that `check_spaces` accepts.
    """
    own = own_spec(env)
    if own is not None:
        return own
    (observation_size,) = env.observation_space.shape
    (action_size,) = env.action_space.shape
    low = env.action_space.low.astype(np.float64)
    high = env.action_space.high.astype(np.float64)
    return TaskSpec(
        task=env.spec.id,
        observation=tuple(f"o{i}" for i in range(observation_size)),
        observation_offset=(0.0,) * observation_size,
        observation_scale=(1.0,) * observation_size,
        joints=tuple(f"a{i}" for i in range(action_size)),
        command_mode="torque",
        action_scale=tuple(float(value) for value in (high - low) / 2.0),
        control_rate_hz=_rate_hz(env),
    )


def _rate_hz(env: Any) -> float:
    """Return the control steps per second of simulated time [Hz].

    The rate is 1 / `dt` of the environment, else the environment's "render_fps", else 1.0.
    """
    period_s = getattr(env.unwrapped, "dt", None)
    if isinstance(period_s, (int, float)) and 0.0 < period_s < np.inf:
        return 1.0 / float(period_s)
    frames_per_s = (env.metadata or {}).get("render_fps")
    if isinstance(frames_per_s, (int, float)) and 0.0 < frames_per_s < np.inf:
        return float(frames_per_s)
    return 1.0


def _import_module_of(env_id: str) -> None:
    """Import the module that an id names before its colon; do nothing for an id without a colon.

    The module is looked for in the working folder first. This folder stays at the end of
    `sys.path`, for later imports of the module.

    Args:
        env_id: Gymnasium id.

    Raises:
        ConfigError: There is no such module, or it raised an exception.
    """
    module, colon, _ = env_id.partition(":")
    if not colon or module in sys.modules:
        return
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        importlib.import_module(module)
    except SqlRosError:
        raise
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == module
        why = (
            f"no module of this name in {folder} or among the installed packages"
            if missing
            else described(error)
        )
        raise ConfigError(f"cannot import '{module}' of '{env_id}': {why}") from error
    finally:
        with contextlib.suppress(ValueError):  # the module removed it
            sys.path.remove(folder)
    if folder not in sys.path:
        sys.path.append(folder)
