"""Tests of the task new_task: python -m pytest FOLDER_OF_THIS_FILE"""

from pathlib import Path

import numpy as np

from sql_ros import RobotState, load_task
from sql_ros.envs.arm_env import ArmEnv

FILE = str(Path(__file__).with_name("new_task.yaml"))
TASK = load_task(FILE)  # also tries every method
EPISODE = TASK.begin(np.random.default_rng(0))
REST = np.zeros(TASK.spec.action_size, np.float32)


def _state(tool_position):
    """Return a state with the tool somewhere."""
    return RobotState(
        stamp_ns=1,
        position=EPISODE.start,
        velocity=np.zeros(len(EPISODE.start)),
        effort=np.zeros(len(EPISODE.start)),
        tool_position=tool_position,
        tool_rotation=np.eye(3),
    )


# The next two tests assume that the tool at the target is a success, and that a nearer tool has a
# larger reward. Change them if your task has another goal.
def test_the_goal_is_reached_at_the_target_and_not_beside_it():
    assert TASK.is_reached(_state(EPISODE.target), EPISODE)
    assert not TASK.is_reached(_state(EPISODE.target + 0.1), EPISODE)


def test_the_reward_is_larger_nearer_to_the_target():
    rewards = [
        TASK.transition_reward(_state(EPISODE.target + aside), REST, EPISODE)
        for aside in (0.0, 0.01, 0.1)
    ]
    assert rewards == sorted(rewards, reverse=True)


def test_an_episode_in_simulation_ends_after_its_time():
    env = ArmEnv(FILE)
    env.reset(seed=0)
    for _ in range(TASK.episode_steps - 1):
        _, _, terminated, truncated, _ = env.step(REST)
        assert not terminated
        assert not truncated
    _, _, terminated, truncated, info = env.step(REST)
    assert truncated
    assert info["outcome"] in ("success", "time-out")
