"""What Rethink's arms are told and what they say, without their messages."""

import numpy as np
import pytest

from sql_ros.robot.intera import Condition, command_fields


@pytest.mark.parametrize(("mode", "number", "field"), [("position", 1, "position"), ("velocity", 2, "velocity"), ("torque", 3, "effort")])
def test_a_command_fills_the_field_of_its_mode_and_no_other(mode, number, field):
    fields = command_fields(np.array([0.5, -1.0]), mode, ("j0", "j1"))
    assert fields == {"mode": number, "names": ["j0", "j1"], field: [0.5, -1.0]}


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (Condition(enabled=True, stopped=False, error=False, estop_button=0), ""),
        (Condition(enabled=False, stopped=False, error=False, estop_button=0), "not enabled"),
        (Condition(enabled=False, stopped=True, error=False, estop_button=0), "is stopped"),
        (Condition(enabled=True, stopped=True, error=True, estop_button=0), "reports an error"),
        (Condition(enabled=False, stopped=True, error=False, estop_button=1), "emergency stop is pressed"),
    ],
)
def test_the_condition_says_why_the_robot_does_not_move(condition, text):
    assert text in condition.complaint
    assert bool(condition.complaint) == bool(text)
    assert condition.estop_pressed == (condition.estop_button == 1)
