"""What the page says about a stack."""

import json

import pytest

from sql_ros.page.status import CURVE_POINTS, RECENT, SILENT_S, NodeStatus, StackStatus
from sql_ros.robot.control.step import EpisodeSummary


def _heard(message: str, level: int = 0, heard: float = 100.0, **values: str) -> NodeStatus:
    return NodeStatus(level, message, {k.replace("__", "/"): v for k, v in values.items()}, heard)


def _episode(index: int, *, success: bool = True) -> EpisodeSummary:
    return EpisodeSummary(index, 10, 12, -1.0 * index, success, 0.1, 1)


def test_a_node_that_is_silent_is_dead():
    status = StackStatus()
    status.nodes["actor"] = _heard("acting")
    alive = status.report(100.0 + SILENT_S)
    dead = status.report(100.1 + SILENT_S)
    assert (alive["is_alive"], alive["nodes"][0]["level"]) == (True, "ok")
    assert (dead["is_alive"], dead["nodes"][0]["level"]) == (False, "dead")
    assert dead["actor_age"] == pytest.approx(3.1)


def test_a_stack_that_was_never_heard_is_not_alive():
    report = StackStatus().report(5.0)
    assert report["actor"] == ""
    assert not report["is_alive"]
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize(
    ("message", "hold"),
    [
        ("holding, stop: ~/stop was called", "stop: ~/stop was called"),
        ("dry run; holding, enable: is false", "enable: is false"),
        ("acting", ""),
        ("dry run", ""),
    ],
)
def test_a_hold_has_its_kind_and_its_reason(message, hold):
    status = StackStatus()
    status.nodes["actor"] = _heard(message, 1)
    assert status.report(100.0)["hold"] == hold


def test_interventions_holds_and_faults_are_counted_by_kind():
    status = StackStatus()
    status.nodes["actor"] = _heard("acting", safety__velocity="3", hold__stop="1", safety__x="0")
    status.nodes["learner"] = _heard("training", fault__replay_refused="2", fault__bad="much")
    counts = status.report(100.0)["counts"]
    assert counts["filter"] == {"velocity": 3}
    assert counts["hold"] == {"stop": 1}
    assert counts["fault"] == {"learner replay_refused": 2}


def test_curves_are_means_over_recent_episodes_and_have_few_points():
    status = StackStatus()
    for index in range(5000):
        status.add_episode(_episode(index, success=index >= 5000 - RECENT // 2))
    curves = status.report(0.0)["curves"]
    assert len(curves["episode"]) <= CURVE_POINTS + 1
    assert (curves["episode"][0], curves["episode"][-1]) == (1, 5000)
    assert curves["success"][-1] == 0.5
    assert curves["return"][-1] == pytest.approx(-4990.0, abs=1.0)


def test_trials_take_the_place_of_the_actor():
    status = StackStatus()
    status.nodes["actor"] = _heard("acting", heard=10.0)
    status.nodes["trials"] = _heard("holding, stop: pressed", 2)
    assert status.report(100.0)["actor"] == "trials"
