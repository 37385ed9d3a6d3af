"""The Gymnasium environment: its own checker, and the same numbers as the actor on the simulated
arm.
"""

import os

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sql_ros.envs  # noqa: F401  (registers)
from sql_ros.common.errors import ConfigError


@pytest.fixture
def env():
    env = gymnasium.make("sql_ros/SawyerReach-v0")
    yield env
    env.close()


@pytest.mark.filterwarnings("error")
def test_gymnasiums_checker_passes():
    env = gymnasium.make("sql_ros/SawyerReach-v0", disable_env_checker=True)
    with pytest.MonkeyPatch.context():
        import warnings

        warnings.filterwarnings(
            "ignore", message=".*Box observation space m.*imum value is.*infinity.*"
        )
        check_env(env.unwrapped, skip_render_check=True)


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


@pytest.mark.skipif(
    "MUJOCO_GL" not in os.environ and "DISPLAY" not in os.environ,
    reason="no libEGL: nothing can render here",
)
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
