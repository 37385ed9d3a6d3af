"""The Gymnasium environment of every arm: checkers, and the same numbers as the actor on the
simulated arm.
"""

import os
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sql_ros.envs  # noqa: F401  (registers)
from sql_ros.arms.import_robot import import_robot
from sql_ros.checks.bench.control_loop import untrained_policy
from sql_ros.common.data_files import share_folder
from sql_ros.common.errors import ConfigError
from sql_ros.robot.policy_file import load_policy
from sql_ros.robot.task import Task
from sql_ros.robot.tasks import load_task
from sql_ros.runs.evaluation import Evaluator
from tests.arms.test_arm_files import CYLINDER, INERTIA, URDF

SHIPPED = sorted(path.stem for path in (share_folder() / "config" / "tasks").glob("*.yaml"))
CAN_RENDER = "MUJOCO_GL" in os.environ or "DISPLAY" in os.environ


@pytest.fixture
def env():
    env = gymnasium.make("sql_ros/SawyerReach-v0")
    yield env
    env.close()


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Return the path of the task file of an arm as `import-robot` writes it."""
    folder = tmp_path_factory.mktemp("arm")
    urdf = folder / "toy.urdf"
    urdf.write_text(URDF.format(inertia=INERTIA, base=CYLINDER))
    return str(import_robot(urdf, folder / "toy").task)


@pytest.mark.parametrize("task", [*SHIPPED, "imported"])
def test_the_checkers_pass_for_every_task(task, toy):
    """Those of Gymnasium and of stable-baselines3, without a warning."""
    mode = "rgb_array" if CAN_RENDER else None
    name = toy if task == "imported" else task
    env = gymnasium.make("sql_ros/Arm-v0", task=name, render_mode=mode, disable_env_checker=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings(
            "ignore", message=".*Box observation space m.*imum value is.*infinity.*"
        )
        check_env(env.unwrapped, skip_render_check=not CAN_RENDER)
        checker = pytest.importorskip("stable_baselines3.common.env_checker")
        checker.check_env(env, skip_render_check=not CAN_RENDER)
    env.close()


def test_an_arm_needs_its_task():
    with pytest.raises(TypeError, match="task"):
        gymnasium.make("sql_ros/Arm-v0")


def test_the_module_in_the_id_registers_the_arm():
    env = gymnasium.make("sql_ros.envs:sql_ros/Arm-v0", task="ur5e_reach")
    assert env.unwrapped.task.robot.name == "ur5e"


def test_arms_are_stepped_side_by_side():
    envs = gymnasium.make_vec(
        "sql_ros/Arm-v0", num_envs=2, vectorization_mode="sync", task="ur5e_reach"
    )
    observations, _ = envs.reset(seed=[0, 1])
    assert not np.array_equal(*observations)
    *_, infos = envs.step(np.zeros(envs.action_space.shape, np.float32))
    assert infos["distance"].shape == (2,)
    envs.close()


def test_the_end_of_a_task_is_told_apart_from_the_end_of_its_time(toy, monkeypatch):
    env = gymnasium.make("sql_ros/Arm-v0", task=toy)
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape, np.float32)
    assert env.step(action)[2:4] == (False, False)
    monkeypatch.setattr(Task, "is_terminated", lambda *_: True)
    assert env.step(action)[2:4] == (True, False)


def test_an_evaluation_sees_what_the_environment_sees(toy, tmp_path):
    """A policy acts alike here and in the actor, which evaluates it: return and distance.

    Nearly: an actor holds the start pose for one step. The episode is so short that no limit is
    met, where an actor would try further candidates.
    """
    short = {"episode_s": 0.5}
    _, policy = load_policy(untrained_policy(toy, tmp_path, seed=0), toy)
    result = Evaluator(load_task(toy, **short), seed=7).evaluate(policy, 1)
    env = gymnasium.make("sql_ros/Arm-v0", task=toy, **short).unwrapped
    env.reset(seed=0)
    env.np_random = np.random.default_rng([7, 0])  # which draws the evaluator's first episode
    observation, info = env.reset()
    rng = np.random.default_rng(7)
    total = 0.0
    truncated = False
    while not truncated:
        action = policy.ranked(observation, rng)[0]
        observation, reward, _, truncated, info = env.step(action)
        total += reward
    assert result.returns == [pytest.approx(total, rel=0.01)]
    assert result.distances == [pytest.approx(info["distance"], rel=0.05)]


def test_an_episode_is_truncated_after_its_time_and_never_terminated(env):
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(100)]
    assert ends[-1] == (False, True)
    assert not any(terminated or truncated for terminated, truncated in ends[:-1])


def test_seeds_repeat_and_differ(env):
    first, again, other = (env.reset(seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_proportional_controller_on_the_jacobian_succeeds(env):
    """The task can be done: resolved-rate control reaches the goal and holds it."""
    import mujoco

    successes = 0
    for seed in range(5):
        env.reset(seed=seed)
        inner = env.unwrapped
        model, data = inner._sim.model, inner._sim.data
        info = {}
        for _ in range(100):
            jacobian = np.zeros((3, model.nv))
            mujoco.mj_jacSite(model, data, jacobian, None, model.site("right_hand").id)
            error = inner._episode.target - inner._state.tool_position
            velocity = jacobian.T @ np.linalg.solve(
                jacobian @ jacobian.T + 1e-2 * np.eye(3), 3.0 * error
            )
            *_, info = env.step(np.clip(velocity / 0.8, -1, 1).astype(np.float32))
        successes += info["is_success"]
    assert successes == 5


@pytest.mark.skipif(not CAN_RENDER, reason="no libEGL: nothing can render here")
def test_rendering_gives_a_picture():
    env = gymnasium.make("sql_ros/SawyerReach-v0", render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (480, 640, 3)
    assert picture.std() > 10
    env.close()


def test_options_replace_those_of_the_tasks_file():
    assert gymnasium.make("sql_ros/SawyerStack-v0").unwrapped.task.config.vary_delay_steps == 0
    late = gymnasium.make("sql_ros/SawyerStack-late-v0").unwrapped.task
    assert (late.config.vary_delay_steps, late.config.vary_friction) == (1, 0.3)
    # a policy of the one acts in the other
    assert late.spec == gymnasium.make("sql_ros/SawyerStack-v0").unwrapped.task.spec


def test_an_option_that_the_task_does_not_have_is_refused():
    with pytest.raises(ConfigError, match="vary_colour"):
        gymnasium.make("sql_ros/SawyerReach-v0", vary_colour=1.0)
