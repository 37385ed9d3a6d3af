"""The second arm as a Gymnasium environment, in position mode."""

import gymnasium
import mujoco
import numpy as np
import pytest

import sql_ros.envs  # noqa: F401  (registers)


@pytest.fixture
def env():
    env = gymnasium.make("sql_ros/UR5eReach-v0", disable_env_checker=True).unwrapped
    yield env
    env.close()


def test_a_proportional_controller_in_position_steps_succeeds(env):
    """The task can be done: steps along the Jacobian reach the goal and hold it."""
    scale, period = np.array(env.task.config.action_scale), 1.0 / env.task.config.control_rate_hz
    successes = 0
    for seed in range(10):
        observation, info = env.reset(seed=seed)
        for _ in range(env.task.episode_steps):
            model, data = env._sim.model, env._sim.data
            jacobian = np.zeros((3, model.nv))
            mujoco.mj_jacSite(model, data, jacobian, None, model.site("tool0").id)
            wished = 3.0 * observation[-3:].astype(np.float64)  # m/s
            velocity = jacobian.T @ np.linalg.solve(
                jacobian @ jacobian.T + 1e-2 * np.eye(3), wished
            )
            observation, *_, info = env.step(
                np.clip(velocity * period / scale, -1, 1).astype(np.float32)
            )
        successes += info["is_success"]
    assert successes == 10
