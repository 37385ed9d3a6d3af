"""Arms with a wrong wiring in closed loop, and that the check can fail."""

import numpy as np
import pytest

from sql_ros.checks.verify import wrong_plant
from sql_ros.checks.verify.wrong_plant import (
    WATCHED,
    PlantCounts,
    WrongPlantLoop,
    identify_plants,
    play_plants,
    wrong_plants,
)
from sql_ros.robot.robot_file import load_robot

SCENE = "sim/scenes/sawyer_reach.xml"
UR5E_SCENE = "sim/scenes/ur5e_reach.xml"


def test_every_joint_and_every_pair_has_a_plant():
    assert len(list(wrong_plants("swapped", 7))) == 21
    for fault, scale in (("flipped", -1.0), ("half", 0.5), ("double", 2.0)):
        plants = [matrix for _, matrix in wrong_plants(fault, 7)]
        np.testing.assert_array_equal(sum(plants), np.eye(7) * (6.0 + scale))


@pytest.mark.parametrize("mode", ["velocity", "position", "torque"])
def test_a_flipped_joint_is_held_before_a_limit_is_passed(mode):
    counts = play_plants("sawyer", SCENE, mode, "flipped", 0)
    assert counts.cells == 7
    assert counts.holds >= 6
    assert not counts.violations


def test_a_right_arm_is_not_held(monkeypatch):
    monkeypatch.setattr(wrong_plant, "PLAY_S", 4.0)
    assert play_plants("sawyer", SCENE, "velocity", "right", 0) == PlantCounts(cells=7)


@pytest.mark.parametrize("mode", ["velocity", "position", "torque"])
@pytest.mark.parametrize("fault", ["flipped", "swapped"])
def test_the_identification_finds_a_wrong_first_joint(mode, fault):
    trial = WrongPlantLoop(load_robot("ur5e"), UR5E_SCENE, mode, 0)
    _, matrix = next(wrong_plants(fault, 6))
    failure, _, tally = trial.identify(matrix)
    assert failure
    assert max(tally.worst.get(kind, 0.0) for kind in WATCHED) <= 1.0


def test_an_identification_that_never_fails_is_noticed(monkeypatch):
    def accept(identification, _):
        identification._leg_scales.append(1.0)
        identification._begin_next_leg()

    monkeypatch.setattr(wrong_plant.Identification, "_check_deviation", lambda *_: None)
    monkeypatch.setattr(wrong_plant.Identification, "_judge", accept)
    counts = identify_plants("ur5e", UR5E_SCENE, "velocity", "flipped", 0)
    assert (counts.cells, counts.holds) == (6, 0)


def test_an_arm_that_nobody_compares_with_its_commands_passes_a_limit(monkeypatch):
    """All joints go the wrong way, and count as confirmed."""
    monkeypatch.setattr(wrong_plant.ResponseCheck, "sent", lambda *_: None)
    monkeypatch.setattr(wrong_plant.ResponseCheck, "speeds", None)
    monkeypatch.setattr(wrong_plant.FollowingCheck, "sent", lambda *_: None)
    trial = WrongPlantLoop(load_robot("sawyer"), SCENE, "velocity", 0)
    seen = [trial.play(-np.eye(7))[1].worst for _ in range(3)]
    assert any(worst.get(kind, 0.0) > 1.0 for worst in seen for kind in WATCHED)


def test_a_right_arm_near_something_is_identified():
    """The filter moves other joints as well; that is no wrong order."""
    assert identify_plants("ur5e", UR5E_SCENE, "position", "right", 0) == PlantCounts(cells=2)
