"""Gymnasium environments seen as tasks."""

import sys

import gymnasium
import numpy as np
import pytest

from sql_ros.common.data_files import share_folder
from sql_ros.common.errors import ConfigError
from sql_ros.envs.checked_env import to_env
from sql_ros.experiments.gym_task import make_env, opened_env, spec_of

OWN_MODULE = """
import gymnasium, numpy
print("a lab module prints")
class Base(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), numpy.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), numpy.float64)
class NeedsArgument(Base):
    def __init__(self, robot_ip): pass
class Broken(Base):
    def __init__(self): raise RuntimeError("no robot\\nthere")
class NoSpaces(gymnasium.Env): pass
class Leaves(Base):
    def __init__(self): raise SystemExit(3)
for kind in (Base, NeedsArgument, Broken, NoSpaces, Leaves):
    gymnasium.register(f"lab/{kind.__name__}-v0", entry_point=kind)
gymnasium.register("lab/NoTime-v0", entry_point=Base, max_episode_steps=0)
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Return the name of a module in the working folder that registers environments."""
    (tmp_path / "own_lab_envs.py").write_text(OWN_MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", ".")])
    yield "own_lab_envs"
    sys.modules.pop("own_lab_envs", None)
    for each in [each for each in gymnasium.registry if each.startswith("lab/")]:
        del gymnasium.registry[each]


@pytest.mark.parametrize(("action", "expected"), [(-1.0, 0.0), (0.0, 1.0), (1.0, 2.0), (3.0, 2.0)])
def test_actions_from_minus_one_to_one_span_the_bounds_of_the_environment(action, expected):
    space = gymnasium.spaces.Box(0.0, 2.0, (1,), np.float32)
    assert to_env(np.array([action], np.float32), space) == pytest.approx(expected)


def test_every_component_of_a_gymnasium_environment_gets_a_name(line):
    spec = spec_of(make_env(line))
    assert (spec.task, spec.observation, spec.joints, spec.action_scale) == (
        line,
        ("o0", "o1"),
        ("a0",),
        (1.0,),
    )
    assert spec.observation_offset == (0.0, 0.0)
    assert spec.observation_scale == (1.0, 1.0)


def test_the_control_rate_is_the_inverse_of_the_period_of_the_environment():
    assert spec_of(make_env("Pendulum-v1")).control_rate_hz == pytest.approx(20.0)


def test_an_arm_keeps_its_own_spec():
    env = make_env("sql_ros/SawyerReach-v0")
    assert spec_of(env) is env.unwrapped.task.spec
    assert env.unwrapped.max_episode_steps == env.unwrapped.task.episode_steps


@pytest.mark.parametrize("env_id", ["CartPole-v1", "NoSuchTask-v0", "no_such_package/Task-v0", ""])
def test_what_cannot_be_trained_is_refused_with_its_name(env_id):
    with pytest.raises(ConfigError, match=f"'{env_id.split('-')[0]}"):
        make_env(env_id)


def test_a_module_of_the_working_folder_registers_environments(lab):
    with opened_env(f"{lab}:lab/Base-v0") as env:
        assert spec_of(env).task == "lab/Base-v0"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("NeedsArgument", r"TypeError: .*robot_ip"),
        ("Broken", r"RuntimeError: no robot there .*own_lab_envs.py:10"),
        ("NoSpaces", r"the observation space of .* is None"),
        ("Leaves", "SystemExit: 3"),
        ("NoTime", "max_episode_steps"),
    ],
)
def test_a_constructor_that_fails_is_one_line(lab, name, says):
    with pytest.raises(ConfigError, match=says) as raised:
        make_env(f"{lab}:lab/{name}-v0")
    assert f"'{lab}:lab/{name}-v0'" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_module_that_is_nowhere_says_where_it_was_looked_for(lab, tmp_path):
    with pytest.raises(ConfigError, match=f"no module of this name in {tmp_path} or among the"):
        make_env("no_such_lab:Base-v0")


def test_a_module_that_fails_is_one_line(lab, tmp_path):
    (tmp_path / "torn_lab.py").write_text("import gymnasium\nx = (\n")
    with pytest.raises(ConfigError, match="cannot import 'torn_lab' of 'torn_lab:B-v0': Syntax"):
        make_env("torn_lab:B-v0")


def test_an_environment_is_closed_on_every_way_out(line):
    closed = []

    class Watched(gymnasium.Wrapper):
        def close(self):
            closed.append(True)

    with pytest.raises(KeyboardInterrupt), opened_env(line, wrap=Watched):
        raise KeyboardInterrupt
    assert closed == [True]


def test_the_path_of_a_task_file_is_its_arm(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text((share_folder() / "config" / "tasks" / "ur5e_reach.yaml").read_text())
    with opened_env(str(path)) as env:
        assert spec_of(env).task == "mine"
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        make_env(str(tmp_path / "nowhere.yaml"))


class WithTime(gymnasium.ObservationWrapper):
    """The observation of an environment, and the constant 1."""

    def __init__(self, env):
        super().__init__(env)
        size = env.observation_space.shape[0] + 1
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def observation(self, observation):
        return np.append(observation, np.float32(1.0))


class Scaled(gymnasium.ObservationWrapper):
    """The observation of an environment in another unit."""

    def observation(self, observation):
        return 10.0 * observation


@pytest.mark.parametrize("wrapper", [WithTime, Scaled])
def test_an_arm_with_other_observations_is_an_environment_like_any_other(wrapper):
    """Its policy must not pass for one of the arm's task."""
    with opened_env("sql_ros/UR5eReach-v0", wrap=wrapper) as env:
        spec = spec_of(env)
        assert spec.task == "sql_ros/UR5eReach-v0"
        assert spec.observation[0] == "o0"
        assert (spec.observation_size,) == env.reset(seed=0)[0].shape
        env.unit_step(env.action_space.sample())
