"""The closed loop of `sql-ros verify safety` in a small size, and that it can fail."""

import dataclasses

import numpy as np
import pytest

from sql_ros.checks.verify.report import failed, row
from sql_ros.checks.verify.safety import RATES_HZ, HostileLoop, cells, hard_cells, safety_checks
from sql_ros.robot.safety.filter import SafetyFilter

SAWYER = cells()[0]


def test_no_limit_is_broken_in_any_mode_at_any_rate():
    commands = 150 * len(RATES_HZ) * sum(len(cell.modes) for cell in cells())
    checks = safety_checks(commands, 1, lambda _line: None, jobs=2)
    assert not [row(check) for check in failed(checks)]
    assert sum(check.value for check in checks if check.name == "hostile commands") == commands
    assert {check.name for check in checks} > {
        "violations of link_speed",
        "violations of acceleration",
        "violations of position",
    }
    assert {check.group.split(", ")[2] for check in checks} == {"velocity", "position", "torque"}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (
            {
                "limit_fraction": 1.0,
                "velocity_limit": (9.0,) * 7,
                "acceleration_limit": (90.0,) * 7,
                "tip_speed_limit_m_s": 50.0,
            },
            "velocity",
        ),
        ({"tip_speed_limit_m_s": 50.0}, "tip_speed"),
        ({"position_margin_rad": -0.3}, "position"),
    ],
)
def test_a_filter_that_is_told_wrong_limits_is_caught(change, kind):
    trial = HostileLoop(SAWYER.robot, SAWYER.scene, "velocity", 20.0, 0)
    robot = SAWYER.robot
    wrong = {**vars(robot), **change}
    loose = object.__new__(type(robot))
    for name, value in wrong.items():
        object.__setattr__(loose, name, value)
    trial.filter = SafetyFilter(loose, "velocity", 0.05, SAWYER.scene)
    assert trial.run(600).violations[kind] > 0


def test_a_filter_that_sees_no_obstacles_is_caught():
    trial = HostileLoop(SAWYER.robot, SAWYER.scene, "torque", 100.0, 0)
    blind = dataclasses.replace(SAWYER.robot, clearance_m=0.001)
    trial.filter = SafetyFilter(blind, "torque", 0.01, SAWYER.scene)
    # what it would say in the open
    trial.filter.clearance.measure_all = lambda position: np.full(
        trial.filter.clearance.count, 0.15
    )
    assert trial.run(3000).violations["contact"] > 0


@pytest.mark.parametrize("mode", ["velocity", "torque"])
def test_a_filter_that_is_not_told_of_late_commands_is_caught(mode):
    trial = HostileLoop(SAWYER.robot, SAWYER.scene, mode, 100.0, 0, lateness_s=0.1)
    trial.filter = SafetyFilter(SAWYER.robot, mode, 0.01, SAWYER.scene)
    trial.filter.elapsed = lambda seconds: None
    assert trial.run(1500).violations.total() > 0


def test_a_filter_that_is_not_told_of_late_states_is_caught():
    cell = hard_cells("sawyer", SAWYER.robot, SAWYER.scene)[0]
    assert cell.robot.latency_s > 0.0
    trial = HostileLoop(
        dataclasses.replace(cell.robot, latency_s=0.1), cell.scene, "torque", 100.0, 0
    )
    trial.filter = SafetyFilter(SAWYER.robot, "torque", 0.01, SAWYER.scene)
    assert trial.run(1500).violations.total() > 0


def test_a_filter_that_is_not_told_of_a_dead_time_is_caught():
    cell = next(
        cell
        for cell in hard_cells("sawyer", SAWYER.robot, SAWYER.scene)
        if cell.servo == "dead_time"
    )
    trial = HostileLoop(cell.robot, cell.scene, "velocity", 20.0, 0, servo=cell.servo)
    trial.filter = SafetyFilter(SAWYER.robot, "velocity", 0.05, SAWYER.scene)
    assert trial.run(600).violations.total() > 0


def test_a_filter_that_limits_the_tool_alone_is_caught():
    robot = dataclasses.replace(SAWYER.robot, tip_speed_limit_m_s=0.4)
    trial = HostileLoop(robot, SAWYER.scene, "velocity", 100.0, 0)
    links = trial.filter._nearest.links
    everything = links.squared
    links.squared = lambda position, velocity: everything(position, velocity)[
        links.tool : links.tool + 1
    ]
    links.gradient = lambda point, *motion: type(links).gradient(links, links.tool, *motion)
    assert trial.run(1500).violations["link_speed"] > 0
