"""The closed loop of `sql-ros verify safety` in a small size, and that it can fail."""

import dataclasses

import numpy as np
import pytest

from sql_ros.robot.safety import SafetyFilter
from sql_ros.verify.report import failed, row
from sql_ros.verify.safety import Trial, cells, safety_checks

SAWYER = cells()[0]


def test_no_limit_is_broken_in_any_mode_at_any_rate():
    checks = safety_checks(27 * 300, 1, lambda _line: None, jobs=2)
    assert not [row(check) for check in failed(checks)]
    assert sum(check.value for check in checks if check.name == "hostile commands") == 27 * 300
    assert {check.group.split(", ")[2] for check in checks} == {"velocity", "position", "torque"}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"limit_fraction": 1.0, "velocity_limit": (9.0,) * 7, "acceleration_limit": (90.0,) * 7}, "velocity"),
        ({"tip_speed_limit_m_s": 50.0}, "tip_speed"),
        ({"position_margin_rad": -0.3}, "position"),
    ],
)
def test_a_filter_that_is_told_wrong_limits_is_caught(change, kind):
    trial = Trial(SAWYER.robot, SAWYER.scene, "velocity", 20.0, 0)
    robot = SAWYER.robot
    wrong = {**vars(robot), **change}
    loose = object.__new__(type(robot))
    for name, value in wrong.items():
        object.__setattr__(loose, name, value)
    trial.filter = SafetyFilter(loose, "velocity", 0.05, SAWYER.scene)
    assert trial.run(600).violations[kind] > 0


def test_a_filter_that_sees_no_obstacles_is_caught():
    trial = Trial(SAWYER.robot, SAWYER.scene, "torque", 100.0, 0)
    blind = dataclasses.replace(SAWYER.robot, clearance_m=0.001)
    trial.filter = SafetyFilter(blind, "torque", 0.01, SAWYER.scene)
    trial.filter._clearance.look = lambda position: np.full(trial.filter._clearance.count, 0.15)  # what it would say in the open
    assert trial.run(3000).violations["contact"] > 0
