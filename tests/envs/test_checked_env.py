"""The adapter around environments that this library did not write."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple

from sql_ros.common.errors import ConfigError
from sql_ros.envs.checked_env import IMPOSED_STEPS, CheckedEnv, to_env

OBSERVATIONS = Box(-np.inf, np.inf, (2,), np.float64)
ACTIONS = Box(-1.0, 1.0, (2,), np.float32)
ZERO = np.zeros(2, np.float32)


class Plain(gymnasium.Env):
    """Gives what it is told to, and remembers its actions and whether it was closed."""

    def __init__(self, reset=None, step=None, observations=OBSERVATIONS, actions=ACTIONS):
        self.observation_space = observations
        self.action_space = actions
        self._reset = (np.zeros(2), {}) if reset is None else reset
        self._step = (np.zeros(2), 0.0, False, False, {}) if step is None else step
        self.actions = []
        self.is_closed = False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if isinstance(self._reset, Exception):
            raise self._reset
        return self._reset

    def step(self, action):
        self.actions.append(action)
        if isinstance(self._step, Exception):
            raise self._step
        return self._step

    def close(self):
        self.is_closed = True


def _checked(**options):
    return CheckedEnv(Plain(**options), "lab/Plain-v0")


def _stepped(**parts):
    """Return what an environment gives for a step with these parts in the place of sound ones."""
    values = {
        "observation": np.zeros(2),
        "reward": 0.0,
        "terminated": False,
        "truncated": False,
        "info": {},
    }
    env = _checked(step=tuple((values | parts).values()))
    env.reset(seed=0)
    return env.step(ZERO)


@pytest.mark.parametrize(
    "space",
    [
        Discrete(3),
        MultiDiscrete([2, 2]),
        Dict({"a": ACTIONS, "b": ACTIONS}),
        Tuple((ACTIONS, ACTIONS)),
        Box(-1.0, 1.0, (), np.float32),
        Box(-1.0, 1.0, (0,), np.float32),
        Box(0, 255, (8, 8, 3), np.uint8),
        None,
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["observations", "actions"])
def test_other_spaces_than_vectors_are_refused_in_one_line(kind, space):
    with pytest.raises(ConfigError, match=r"'lab/Plain-v0' is .*, expected a Box of one") as raised:
        _checked(**{kind: space})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (-np.inf, 1.0, np.float32),
        (-1.0, np.inf, np.float64),
        (-np.inf, np.inf, np.float32),
        (-np.finfo(np.float32).max, np.finfo(np.float32).max, np.float32),
        (0.0, 1e30, np.float64),
        (np.iinfo(np.int64).min, np.iinfo(np.int64).max, np.int64),
    ],
)
def test_infinite_and_huge_bounds_are_refused(low, high, dtype):
    with pytest.raises(ConfigError, match=r"'lab/Plain-v0' is .*, expected finite bounds"):
        _checked(actions=Box(low, high, (2,), dtype))


def test_bounds_without_a_range_are_refused():
    actions = Box(np.array([-1.0, 0.5]), np.array([1.0, 0.5]), dtype=np.float64)
    with pytest.raises(ConfigError, match="expected each lower bound below the upper one"):
        _checked(actions=actions)
    swapped = Box(-1.0, 1.0, (2,), np.float32)
    swapped.low, swapped.high = swapped.high, swapped.low
    with pytest.raises(ConfigError, match="expected each lower bound below the upper one"):
        _checked(actions=swapped)


@pytest.mark.parametrize(
    ("space", "actions", "expected"),
    [
        (Box(-1, 1, (1,), np.int8), (-1.0, -0.4, 0.4, 0.6, 1.0), (-1, 0, 0, 1, 1)),
        (Box(0, 255, (1,), np.uint8), (-1.0, 0.0, 1.0, 7.0), (0, 128, 255, 255)),
        (Box(-5, 3, (1,), np.int64), (-1.0, 1.0), (-5, 3)),
        (Box(-65504.0, 65504.0, (1,), np.float16), (-1.0, 0.0, 1.0), (-65504.0, 0.0, 65504.0)),
        (Box(0.1, 0.7, (1,), np.float64), (-1.0, 1.0), (0.1, 0.7)),
    ],
    ids=str,
)
def test_actions_reach_both_bounds_and_the_nearest_integer(space, actions, expected):
    for action, value in zip(actions, expected):
        taken = to_env(np.array([action], np.float32), space)
        assert taken.dtype == space.dtype
        assert space.contains(taken)
        assert taken[0] == value


def test_actions_stay_inside_bounds_that_round():
    space = Box(np.float32(-0.1), np.float32(0.3), (200,), np.float32)
    rng = np.random.default_rng(0)
    for _ in range(50):
        edge = np.nextafter(np.float32(1.0), np.float32(0.0))
        actions = rng.choice(np.array([-1.0, -edge, edge, 1.0], np.float32), 200)
        assert space.contains(to_env(actions, space))


@pytest.mark.parametrize(
    "result", [np.zeros(2), (np.zeros(2),), (np.zeros(2), {}, 0), None, [np.zeros(2)]], ids=str
)
def test_a_reset_that_returns_no_pair_is_refused_with_the_rule(result):
    env = _checked()
    env.unwrapped._reset = result
    with pytest.raises(ConfigError, match=r"'lab/Plain-v0' returned .* from reset\(\): .*must"):
        env.reset()


@pytest.mark.parametrize("result", [(np.zeros(2), 0.0, False, {}), None, (), np.zeros(5)], ids=str)
def test_a_step_of_other_than_five_values_is_refused(result):
    env = _checked()
    env.reset()
    env.unwrapped._step = result
    with pytest.raises(ConfigError, match=r"'lab/Plain-v0' returned .* from step\(\): .*must"):
        env.step(ZERO)


def test_a_step_of_four_values_under_a_time_limit_names_the_rule():
    env = gymnasium.wrappers.TimeLimit(Plain(step=(np.zeros(2), 0.0, False, {})), 5)
    checked = CheckedEnv(env, "lab/Plain-v0")
    checked.reset()
    with pytest.raises(ConfigError, match=r"'lab/Plain-v0' raised ValueError.*terminated, trunc"):
        checked.step(ZERO)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (np.zeros(3), r"of shape \(3,\), expected \(2,\)"),
        (np.zeros((1, 2)), r"of shape \(1, 2\), expected \(2,\)"),
        (0.0, r"of shape \(\), expected \(2,\)"),
        (np.array([0.0, np.nan]), "expected finite numbers"),
        (np.array([0.0, -np.inf]), "expected finite numbers"),
        (np.array([1e20, 0.0]), "expected finite numbers up to 10000 times their scale"),
        (None, "expected finite numbers"),
        ("ab", "expected finite numbers"),
        ([0.0, [1.0]], "expected finite numbers"),
        ({"o": np.zeros(2)}, "expected finite numbers"),
    ],
    ids=str,
)
def test_observations_that_no_network_can_use_are_refused(value, rule):
    with pytest.raises(ConfigError, match=f"'lab/Plain-v0' gave .*{rule}") as raised:
        _stepped(observation=value)
    assert "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match=rule):
        _checked(reset=(value, {})).reset()


def test_an_observation_whose_shape_changes_later_is_refused():
    env = _checked()
    env.reset()
    env.step(ZERO)
    env.unwrapped._step = (np.zeros(4), 0.0, False, False, {})
    with pytest.raises(ConfigError, match=r"of shape \(4,\), expected \(2,\)"):
        env.step(ZERO)


@pytest.mark.parametrize("value", [[1, 2], (1.0, 2.0), np.array([1, 2], np.uint8)], ids=str)
def test_lists_and_integers_are_taken_as_observations(value):
    assert _stepped(observation=value)[0].tolist() == [1.0, 2.0]


def test_the_observation_is_a_copy():
    kept = np.zeros(2)
    observation = _stepped(observation=kept)[0]
    kept[:] = 1.0
    assert observation.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "value", [2, 2.0, np.float32(2), np.float64(2), np.array(2.0), np.array([2.0]), [2.0]], ids=repr
)
def test_a_reward_that_is_one_number_is_taken(value):
    reward = _stepped(reward=value)[1]
    assert type(reward) is float
    assert reward == 2.0


@pytest.mark.parametrize(
    "value", [None, "2.0", np.array([1.0, 2.0]), np.array([]), np.nan, -np.inf, 1e7, 1j], ids=repr
)
def test_another_reward_is_refused(value):
    with pytest.raises(ConfigError, match=r"'lab/Plain-v0' gave the reward .*, expected finite"):
        _stepped(reward=value)


@pytest.mark.parametrize(
    "value", [True, 1, np.bool_(True), np.array([True]), np.int64(1)], ids=repr
)
@pytest.mark.parametrize("name", ["terminated", "truncated"])
def test_a_flag_may_be_a_bool_or_0_or_1(name, value):
    result = _stepped(**{name: value})
    assert result[2:4] == (name == "terminated", name == "truncated")
    assert {type(each) for each in result[2:4]} == {bool}


@pytest.mark.parametrize("value", [None, 2, "True", 0.5, np.array([True, False])], ids=repr)
@pytest.mark.parametrize("name", ["terminated", "truncated"])
def test_another_flag_is_refused(name, value):
    with pytest.raises(ConfigError, match=f"gave {name} = .*, expected True or False"):
        _stepped(**{name: value})


@pytest.mark.parametrize("value", [None, [], "info"], ids=repr)
def test_an_info_that_is_no_dict_is_refused(value):
    with pytest.raises(ConfigError, match=r"gave the info .*, expected a dict"):
        _stepped(info=value)
    with pytest.raises(ConfigError, match=r"gave the info .*, expected a dict"):
        _checked(reset=(np.zeros(2), value)).reset()


@pytest.mark.parametrize("value", [None, "yes", np.nan, 2.0], ids=repr)
def test_a_success_that_is_none_is_refused(value):
    with pytest.raises(ConfigError, match=r"gave is_success = .*, expected True or False"):
        _checked().success_of({"is_success": value})


@pytest.mark.parametrize("dtype", [np.float32, np.int8])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_action_that_is_not_finite_never_reaches_the_environment(value, dtype):
    env = _checked(actions=Box(-1, 1, (2,), dtype))
    env.reset()
    with pytest.raises(ConfigError, match=r"was to be given the action .* by the policy"):
        env.unit_step(np.array([0.0, value], np.float32))
    assert env.unwrapped.actions == []


def test_an_exception_is_one_line_with_its_place():
    env = _checked(step=RuntimeError("lost\nconnection"))
    env.reset()
    says = r"'lab/Plain-v0' raised RuntimeError: lost connection \(test_.*\.py:\d+\) in step\(\)"
    with pytest.raises(ConfigError, match=says):
        env.step(ZERO)


def test_an_error_of_this_library_passes_unchanged():
    env = _checked(reset=ConfigError("task file"))
    with pytest.raises(ConfigError, match=r"^task file$"):
        env.reset()


def test_an_exception_of_close_is_a_warning(caplog):
    class Stuck(Plain):
        def close(self):
            raise OSError("busy")

    CheckedEnv(Stuck(), "lab/Stuck-v0").close()
    assert "environment 'lab/Stuck-v0': close() raised OSError: busy" in caplog.text


def test_an_episode_without_a_limit_is_cut_with_one_warning(caplog):
    env = _checked()
    for _ in range(2):
        env.reset()
        cuts = [env.step(ZERO)[3] for _ in range(IMPOSED_STEPS)]
        assert cuts.index(True) == IMPOSED_STEPS - 1
    assert caplog.text.count("'lab/Plain-v0' states no time limit: its episodes are truncated") == 1


def test_a_limit_that_the_environment_states_is_kept(caplog):
    class Long(Plain):
        max_episode_steps = IMPOSED_STEPS + 100

    env = CheckedEnv(Long(), "lab/Long-v0")
    env.reset()
    cuts = [env.step(ZERO)[3] for _ in range(IMPOSED_STEPS + 100)]
    assert cuts.index(True) == IMPOSED_STEPS + 99
    registered = CheckedEnv(gymnasium.wrappers.TimeLimit(Plain(), 3), "lab/Plain-v0")
    registered.reset()
    assert [registered.step(ZERO)[3] for _ in range(3)] == [False, False, True]
    assert not caplog.text


def test_an_episode_that_terminates_at_its_limit_is_not_truncated():
    env = _checked()
    env.reset()
    for _ in range(IMPOSED_STEPS - 1):
        env.step(ZERO)
    env.unwrapped._step = (np.zeros(2), 0.0, True, False, {})
    assert env.step(ZERO)[2:4] == (True, False)
