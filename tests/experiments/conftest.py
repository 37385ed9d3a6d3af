"""A task that a run of a second can learn: five steps on a line, the reward is how close the action
is to 1.5, bounds 0 and 2.
"""

import gymnasium
import numpy as np
import pytest
import torch

from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig

LINE = "sql_ros_tests/Line-v0"


class LineEnv(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float64)
    action_space = gymnasium.spaces.Box(0.0, 2.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1.0, 1.0, 2)
        return self.place.copy(), {"is_success": False}

    def step(self, action):
        assert self.action_space.contains(action), action
        close = abs(float(action[0]) - 1.5)
        return self.place.copy(), -close, False, False, {"is_success": close < 0.2}


gymnasium.register(LINE, LineEnv, max_episode_steps=5)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def line():
    return LINE


@pytest.fixture
def small():
    return AlgorithmConfig(
        hidden_sizes=(32, 32), batch_size=32, value_particles=8, uniform_particles=2, discount=0.5
    )


@pytest.fixture
def pace():
    return TrainerConfig(replay_capacity=1000, warmup_transitions=20)
