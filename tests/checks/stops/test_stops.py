"""The check of stops: what it judges, and two stops of a real actor."""

import numpy as np
import pytest

from sql_ros.checks.stops.hindrances import HINDRANCES, MODES
from sql_ros.checks.stops.stops import StopCase, StopResults, _judge, stop_arms

CASE = StopCase("play", "none", "stop", (0.0, 0.0))
DOMAIN = 49
LIMIT = np.array([10.0])


class _Arm:
    """Commands as they came, a period of 0.05 s apart from time 0 on."""

    def __init__(self, *speeds: float, outside_rad: float = 0.0) -> None:
        self.commands = [(0.05 * number, np.array([speed])) for number, speed in enumerate(speeds)]
        self.speed = abs(speeds[-1])
        self.outside_rad = outside_rad


def test_the_first_braking_command_is_where_the_arm_only_gets_slower():
    result = _judge(CASE, _Arm(0.8, 0.9, 1.0, 0.5, 0.0, 0.0), 0, 0.06, LIMIT, is_false=False)
    assert result.first_brake_s == pytest.approx(0.15 - 0.06)
    assert result.rest_s == pytest.approx(0.20 - 0.06)
    assert result.is_within_limits


def test_an_arm_that_goes_on_was_missed():
    result = _judge(CASE, _Arm(0.8, 0.9, 0.9), 0, 0.06, LIMIT, is_false=False)
    assert result.is_missed
    results = StopResults([result])
    assert results.failed == [result]
    assert results.figures()["missed"] == 1


@pytest.mark.parametrize(
    "arm",
    [_Arm(1.0, *np.linspace(0.9, 0.1, 9), 0.0), _Arm(1.0, 0.5, 0.0, outside_rad=0.01)],
    ids=["slowly", "beyond a limit"],
)
def test_a_way_to_rest_beyond_the_limits_fails(arm):
    result = _judge(CASE, arm, 0, 0.01, LIMIT, is_false=False)
    assert not result.is_within_limits
    assert StopResults([result]).failed


def test_only_a_training_has_a_learner_that_hangs():
    assert [mode for mode in MODES if "hung_learner" in HINDRANCES[mode]] == ["training"]


@pytest.mark.long
@pytest.mark.stack
def test_two_stops_of_a_moving_arm(tmp_path):
    results = StopResults(list(stop_arms(2, 0, DOMAIN, tmp_path)))
    assert not results.failed
    assert results.figures()["stops"] == 2
