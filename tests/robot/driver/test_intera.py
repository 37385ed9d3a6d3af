"""What Rethink's arms are told and what they say, without their messages."""

from dataclasses import replace

import numpy as np
import pytest

from sql_ros.robot.driver.intera import AssemblyState, command_fields


@pytest.mark.parametrize(
    ("mode", "number", "field"),
    [("position", 1, "position"), ("velocity", 2, "velocity"), ("torque", 3, "effort")],
)
def test_a_command_fills_the_field_of_its_mode_and_no_other(mode, number, field):
    fields = command_fields(np.array([0.5, -1.0]), mode, ("j0", "j1"))
    assert fields == {"mode": number, "names": ["j0", "j1"], field: [0.5, -1.0]}


WELL = AssemblyState(
    homed=True, ready=True, enabled=True, stopped=False, error=False, estop_button=0
)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, ""),
        (
            {"enabled": False, "ready": False},
            (
                "not enabled: ros2 topic pub --once /robot/set_super_enable std_msgs/msg/Bool"
                " '{data: true}'"
            ),
        ),
        ({"homed": False}, "not homed"),
        ({"homed": False, "ready": False}, "not homed"),
        ({"ready": False}, "not ready"),
        ({"enabled": False, "stopped": True}, "is stopped"),
        ({"stopped": True, "error": True}, "reports an error"),
        ({"enabled": False, "stopped": True, "estop_button": 1}, "emergency stop is pressed"),
    ],
)
def test_the_condition_says_why_the_robot_does_not_move(changes, text):
    condition = replace(WELL, **changes)
    assert text in condition.complaint
    assert bool(condition.complaint) == bool(text)
    assert condition.estop_pressed == (condition.estop_button == 1)


@pytest.mark.parametrize(
    "changes", [{"enabled": True}, {"stopped": True}, {"error": True}, {"estop_button": 1}]
)
def test_only_a_robot_that_lacks_nothing_else_can_be_enabled(changes):
    disabled = replace(WELL, enabled=False, ready=False)
    assert disabled.can_be_enabled
    assert not replace(disabled, **changes).can_be_enabled
