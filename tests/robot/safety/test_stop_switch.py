"""How old the word of a switch is, and what a robot's file may require."""

import dataclasses

import pytest

from sql_ros.common.config import config_from_mapping
from sql_ros.common.errors import ConfigError
from sql_ros.robot.config import RequiredStop, RobotConfig
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.stop_switch import DRIFT, SourceLag


def _ns(seconds: float) -> int:
    return round(1e9 * seconds)


@pytest.mark.parametrize("offset", [-1e5, 0.0, 1e5])
def test_messages_of_a_punctual_source_are_not_late_whatever_its_clock_says(offset):
    lag = SourceLag()
    late = [lag.late_s(_ns(at + offset), _ns(at + 0.001), at) for at in (1e6, 1e6 + 0.1, 1e6 + 0.2)]
    assert late == pytest.approx([0.0] * 3, abs=1e-4)


def test_what_waited_to_be_read_is_as_late_as_it_waited():
    lag = SourceLag()
    lag.late_s(_ns(10.0), _ns(10.001), 10.001)
    late = [lag.late_s(_ns(said), _ns(13.0), 13.0) for said in (10.1, 11.0, 12.999)]
    assert late == pytest.approx([2.9, 2.0, 0.0], abs=3.0 * DRIFT + 1e-3)


def test_messages_that_stay_late_are_late_for_ever():
    lag = SourceLag()
    assert lag.late_s(_ns(10.0), _ns(10.0), 10.0) == 0.0
    times = [0.1 * step for step in range(101, 10_000)]
    late = [lag.late_s(_ns(at - 0.25), _ns(at), at) for at in times]
    assert min(late) == pytest.approx(0.25, abs=1e-3)


def test_clocks_that_drift_apart_make_nothing_late():
    lag = SourceLag()
    late = [lag.late_s(_ns(at * (1.0 - 2e-5)), _ns(at), at) for at in range(1, 3600)]
    assert max(late) < 0.01


def test_a_delay_that_grows_slowly_is_late_in_the_end():
    lag = SourceLag()
    late = [lag.late_s(_ns(at * (1.0 - 0.98 * DRIFT)), _ns(at), at) for at in range(1, 3600)]
    assert late[100] == pytest.approx(0.0, abs=1e-3)
    assert late[-1] == pytest.approx(late[300] + 3298 * 0.98 * DRIFT, abs=1e-3)
    assert late[300] > 0.02


def test_a_message_without_a_time_of_its_source_is_never_fresh():
    assert SourceLag().late_s(0, _ns(10.0), 10.0) == float("inf")


def test_a_new_publisher_may_have_another_clock():
    lag = SourceLag()
    lag.late_s(_ns(10.0), _ns(10.0), 10.0)
    assert lag.late_s(_ns(1.0), _ns(11.0), 11.0) > 5.0
    lag.forget()
    assert lag.late_s(_ns(2.0), _ns(12.0), 12.0) == 0.0


def test_a_robot_file_lists_what_it_requires():
    values = load_robot("ur5e").as_dict()
    values["required_stops"] = [
        {"kind": "emergency_stop", "deadline_s": 1, "topic": "/cell/stop"},
        {"kind": "enable", "deadline_s": 0.2},
    ]
    robot = config_from_mapping(RobotConfig, values, "a file")
    assert robot.required_stops == (
        RequiredStop(kind="emergency_stop", deadline_s=1.0, topic="/cell/stop"),
        RequiredStop(kind="enable", deadline_s=0.2),
    )


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            {"kind": "button", "deadline_s": 0.5},
            "'kind' must be one of emergency_stop, stop_lock, enable, got 'button'",
        ),
        ({"kind": "enable"}, "key 'deadline_s' is missing"),
        ({"kind": "enable", "deadline_s": 60.0}, "'deadline_s' must be at most 2.0"),
        ("enable", "'required_stops' must be of type RequiredStop, got 'enable'"),
    ],
)
def test_a_required_stop_that_makes_no_sense_is_refused(entry, words):
    with pytest.raises(ConfigError, match=words):
        dataclasses.replace(load_robot("ur5e"), required_stops=(entry,))
