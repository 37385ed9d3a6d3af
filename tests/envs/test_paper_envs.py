"""The worlds of the papers' experiments."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sql_ros.envs  # noqa: F401
from sql_ros.common.errors import ConfigError
from sql_ros.envs import quadruped
from sql_ros.envs.maze import SPEED, START, TARGET, UPPER_BEST, is_free
from sql_ros.envs.quadruped import REWARD_SCALE

IDS = [
    "MultiGoal",
    "PointMaze",
    "Snake",
    "Pusher-x",
    "Pusher-y",
    "Pusher-both",
    "Quadruped-open",
    "Quadruped-maze",
]


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_finds_nothing_wrong(name):
    env = gymnasium.make(f"sql_ros/{name}-v0")
    check_env(env.unwrapped, skip_render_check=True)
    assert env.spec.max_episode_steps


@pytest.mark.parametrize("name", ["Snake", "Pusher-x", "Quadruped-open"])
@pytest.mark.filterwarnings("error")
def test_a_body_that_gives_pictures_says_so_before_it_is_made(name):
    env = gymnasium.make(f"sql_ros/{name}-v0", render_mode="rgb_array")
    assert env.metadata["render_fps"] == round(1.0 / env.unwrapped.dt)
    env.close()


@pytest.mark.parametrize("name", IDS)
def test_the_same_seed_and_actions_give_the_same_episode(name):
    def play(seed):
        env = gymnasium.make(f"sql_ros/{name}-v0")
        observation, _ = env.reset(seed=seed)
        rng, seen = np.random.default_rng(0), [observation]
        for _ in range(20):
            observation, _, terminated, _, _ = env.step(
                rng.uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32)
            )
            seen.append(observation)
            if terminated:
                break
        return np.array(seen)

    np.testing.assert_array_equal(play(3), play(3))
    assert not np.array_equal(play(3)[0], play(4)[0])


# --- multigoal ---


def _multigoal(state):
    env = gymnasium.make("sql_ros/MultiGoal-v0")
    env.reset(seed=0, options={"state": state})
    return env


@pytest.mark.parametrize(("way", "goal"), [((1, 0), 0), ((-1, 0), 1), ((0, 1), 2), ((0, -1), 3)])
def test_each_goal_ends_an_episode_and_pays(way, goal):
    env = _multigoal((0.0, 0.0))
    rewards = []
    for _ in range(5):
        _, reward, terminated, _, info = env.step(np.array(way, np.float32))
        rewards.append(reward)
        if terminated:
            break
    assert info == {"goal": goal, "is_success": True}
    assert len(rewards) == 5
    assert rewards[-1] == pytest.approx(-30.0 - 0.0 + 10.0)


def test_the_world_of_the_point_ends():
    env = _multigoal((6.8, 6.8))
    observation, _, terminated, _, _ = env.step(np.ones(2, np.float32))
    np.testing.assert_allclose(observation, [7.0, 7.0])
    assert not terminated


# --- maze ---


def _walk(way, steps, start=START):
    env = gymnasium.make("sql_ros/PointMaze-v0")
    _, info = env.reset(seed=0, options={"state": start})
    nearest = info["distance"]
    for action in way:
        for _ in range(steps):
            _, _, terminated, _, info = env.step(np.array(action, np.float32))
            nearest = min(nearest, info["distance"])
            if terminated:
                return nearest, True
    return nearest, False


def test_the_upper_passage_is_a_dead_end_at_the_distance_that_is_said():
    nearest, there = _walk([(0, 1), (1, 0), (1, -1)], 20, np.array([1.0, 0.0]))
    assert not there
    assert UPPER_BEST <= nearest < UPPER_BEST + SPEED


def test_the_lower_passage_leads_to_the_target():
    nearest, there = _walk([(0, -1), (1, 0), (0, 1)], 20, np.array([1.0, 0.0]))
    assert there
    assert nearest < 0.5


def test_nobody_walks_through_walls():
    env = gymnasium.make("sql_ros/PointMaze-v0")
    rng = np.random.default_rng(0)
    for episode in range(20):
        env.reset(seed=episode)
        for _ in range(60):
            _, _, terminated, truncated, _ = env.step(rng.uniform(-1.0, 1.0, 2).astype(np.float32))
            assert is_free(env.unwrapped.place)
            if terminated or truncated:
                break


def test_the_upper_passage_looks_shorter():
    """By the corners of the block between the passages."""
    upper, lower = np.array([3.0, 1.6]), np.array([3.0, -2.6])
    assert np.linalg.norm(upper - START) + np.linalg.norm(TARGET - [9.0, 1.6]) < np.linalg.norm(
        lower - START
    ) + np.linalg.norm(TARGET - [9.0, -2.6])


# --- snake ---


def test_the_snake_is_paid_for_either_direction_and_more_beyond_the_line():
    env = gymnasium.make("sql_ros/Snake-v0").unwrapped
    rewards = {}
    for name, x, speed in (("ahead", 0.0, 0.5), ("back", 0.0, -0.5), ("beyond", 5.0, 0.5)):
        env.reset(seed=0)
        env.data.qpos[0] += x
        env._x += x  # not a leap
        env.data.qvel[0] = speed
        _, rewards[name], _, _, info = env.step(np.zeros(2, np.float32))
        assert info["is_success"] == (name == "beyond")
    assert rewards["ahead"] > 0.1
    assert rewards["back"] == pytest.approx(rewards["ahead"], rel=0.3)
    assert rewards["beyond"] == pytest.approx(3.0 * rewards["ahead"], rel=0.05)


def test_the_snake_swims_by_waving():
    env = gymnasium.make("sql_ros/Snake-v0").unwrapped
    env.reset(seed=0)
    for step in range(500):
        phase = 2.0 * np.pi * step * env.dt / 1.2
        _, _, _, _, info = env.step(np.array([np.sin(phase), np.sin(phase - 1.6)], np.float32))
    assert abs(info["x"]) > 0.5


# --- pusher ---


def test_the_reward_of_both_is_the_mean_of_the_skills():
    rewards = []
    for task in ("x", "y", "both"):
        env = gymnasium.make(f"sql_ros/Pusher-{task}-v0")
        env.reset(seed=5)
        rewards.append(env.step(np.array([0.3, -0.5, 0.2], np.float32))[1])
    assert rewards[2] == pytest.approx((rewards[0] + rewards[1]) / 2.0)


def test_the_puck_starts_where_the_arm_can_get_behind_it():
    env = gymnasium.make("sql_ros/Pusher-both-v0").unwrapped
    for seed in range(50):
        env.reset(seed=seed)
        x, y = env.data.body("puck").xpos[:2]
        assert 0.3 <= x <= 1.0
        assert -1.0 <= y <= -0.4
        assert np.hypot(x - 1.0, y + 1.0) > 0.45


def test_the_puck_moves_when_it_is_pushed_and_then_comes_to_rest():
    env = gymnasium.make("sql_ros/Pusher-both-v0").unwrapped
    env.reset(seed=0)
    env.data.qpos[3:5] = [1.0, -0.5]
    for _ in range(60):
        env.step(np.array([-1.0, 0.0, 0.0], np.float32))
    moved = env.data.body("puck").xpos[:2].copy()
    assert moved[1] < -0.6
    env.data.qpos[:3], env.data.qvel[:3] = [1.0, 0.0, 0.0], 0.0
    for _ in range(100):
        env.step(np.zeros(3, np.float32))
    assert np.abs(env.data.qvel[3:5]).max() < 1e-3


def test_an_unknown_task_is_named():
    with pytest.raises(ConfigError, match="expected one of: x, y, both"):
        gymnasium.make("sql_ros/Pusher-both-v0", task="z")


# --- quadruped ---


def _quadruped(course, steps=0, velocity=(0.0, 0.0), at=(0.0, 0.0)):
    env = gymnasium.make(f"sql_ros/Quadruped-{course}-v0").unwrapped
    env.reset(seed=0)
    env.data.qpos[:2] = env._at[:] = at
    env.data.qvel[:2] = velocity
    return env, env.step(np.zeros(8, np.float32))


def test_it_stands_when_nothing_is_done():
    env, _ = _quadruped("open")
    for _ in range(60):
        _, _, terminated, _, _ = env.step(np.zeros(8, np.float32))
        assert not terminated
    assert 0.3 < env.data.qpos[2] < 0.5


def test_in_the_open_every_direction_pays_alike_and_in_a_hallway_only_one():
    rewards = [
        _quadruped("open", velocity=way)[1][1] for way in ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0))
    ]
    assert min(rewards) > 0.5
    assert max(rewards) < 1.5 * min(rewards)
    forward, back = (_quadruped("wide", velocity=way)[1][1] for way in ((1.0, 0.0), (-1.0, 0.0)))
    assert forward > 0.5
    assert back < -0.5


def test_walls_hold_it():
    for course, half in (("wide", 2.0), ("narrow", 1.0)):
        env, _ = _quadruped(course)
        for _ in range(60):
            env.data.qvel[1] = 1.0
            env.step(np.zeros(8, np.float32))
        assert abs(env.data.qpos[1]) < half


def test_the_target_pays_the_more_the_nearer_it_is():
    rewards = [_quadruped("maze", at=at)[1][1] for at in ((0.0, 0.0), (3.0, -2.0), (5.0, 0.0))]
    assert rewards[0] < rewards[1] < rewards[2]
    assert rewards[2] == pytest.approx(REWARD_SCALE, abs=0.05)


@pytest.mark.parametrize(
    ("maze", "barrier", "block_ends"),
    [
        ("maze", 1.8, 2.6),
        ("maze-deep", 2.1, 2.6),
        ("maze-thick", 1.8, 3.0),
        ("maze-near", 1.8, 2.6),
    ],
)
def test_only_the_lower_passage_leads_nearer_to_the_target_than_the_dead_end(
    maze, barrier, block_ends
):
    upper, deepest = _pushed(maze, [(1.5, 1.8), (6.0, 1.8)])
    assert barrier - 0.5 < upper[0] < barrier
    assert deepest > quadruped.UPPER_BEST[maze] == pytest.approx(np.hypot(5.0 - barrier, 0.9))
    _, nearest = _pushed(maze, [(1.5, -1.9), (3.5, -1.9)])
    assert nearest < quadruped.UPPER_BEST[maze]
    # no way up before the block ends
    blocked, _ = _pushed(maze, [(1.5, -1.9), (block_ends - 0.4, -1.9), (block_ends - 0.4, 0.0)])
    assert blocked[1] < -0.91


def test_a_target_seen_from_less_far_pays_less_at_the_start():
    assert _quadruped("maze-near", at=(0.0, 0.0))[1][1] < _quadruped("maze", at=(0.0, 0.0))[1][1]


def _pushed(maze, ways):
    """Where the middle of the quadruped gets to when it is shoved through a maze, from point to
    point, and how near the target it was.
    """
    env, _ = _quadruped(maze)
    nearest = np.inf
    for goal in ways:
        for _ in range(120):
            away = np.array(goal) - env.data.qpos[:2]
            env.data.qvel[:2] = away / max(np.linalg.norm(away), 0.2)
            nearest = min(nearest, env.step(np.zeros(8, np.float32))[4]["distance"])
    return env.data.qpos[:2].copy(), nearest


def test_lying_on_its_back_terminates():
    env, _ = _quadruped("open")
    env.data.qpos[3:7] = [0.0, 1.0, 0.0, 0.0]
    assert env.step(np.zeros(8, np.float32))[2]
