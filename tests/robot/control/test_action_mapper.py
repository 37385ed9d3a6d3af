"""Actions to commands: what is sent, what it amounts to, and which candidate is preferred."""

import dataclasses

import numpy as np
import pytest

from sql_ros.robot.arm import Arm
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.tasks.reach import Task

SCALES = {"velocity": 0.8, "position": 0.04, "torque": 2.0}


def _state(task, position=None):
    zero = np.zeros(len(task.robot.joints))
    return Arm(task.robot).state(
        0, np.array(task.robot.neutral_position) if position is None else position, zero, zero
    )


@pytest.mark.parametrize("mode", SCALES)
def test_the_action_that_comes_back_is_the_one_that_was_sent(task, mode):
    config = dataclasses.replace(task.config, command_mode=mode, action_scale=(SCALES[mode],) * 7)
    mapper, state = ActionMapper(Task("reach", config, task.robot)), _state(task)
    for wished in (np.full(7, 0.05, np.float32), np.array([1, -1, 1, -1, 1, -1, 1], np.float32)):
        mapper.safety.forget()
        mapped = mapper.act(wished, state)
        command, applied = mapped.command, mapped.applied
        origin = state.position if mode == "position" else 0.0
        # a torque that slows a coupled joint may exceed what an action can say
        inside = np.abs((command - origin) / SCALES[mode]) <= 1.0
        np.testing.assert_allclose(
            (origin + SCALES[mode] * applied)[inside], command[inside], atol=1e-6
        )
        assert inside.sum() >= 5


@pytest.fixture
def at_a_limit(task):
    """The last joint at its margin: it may only turn back."""
    position = np.array(task.robot.neutral_position)
    position[6] = task.robot.position_upper[6] - task.robot.position_margin_rad
    return ActionMapper(task), _state(task, position)


OUT, BACK = (np.array([0.1, 0, 0, 0, 0, 0, sign * 0.2], np.float32) for sign in (1, -1))


def test_a_candidate_that_is_allowed_goes_before_one_that_would_be_clipped(at_a_limit):
    mapper, state = at_a_limit
    mapped = mapper.act(OUT, state, lambda: [OUT, BACK, 0.5 * BACK])
    action, applied = mapped.action, mapped.applied
    np.testing.assert_array_equal(action, BACK)
    np.testing.assert_allclose(applied, BACK, atol=1e-6)
    assert mapper.safety.interventions == {"resampled": 1}


def test_where_no_candidate_is_allowed_the_least_correction_is_sent(at_a_limit):
    mapper, state = at_a_limit
    mapped = mapper.act(OUT, state, lambda: [0.5 * OUT, 2 * OUT])
    action, applied = mapped.action, mapped.applied
    np.testing.assert_array_equal(action, 0.5 * OUT)
    np.testing.assert_allclose(applied, [0.05, 0, 0, 0, 0, 0, 0], atol=1e-6)
    assert mapper.safety.interventions["position"] == 1


def test_a_candidate_that_is_not_finite_is_none(at_a_limit):
    mapper, state = at_a_limit
    mapped = mapper.act(OUT, state, lambda: [np.full(7, np.nan, np.float32), BACK])
    np.testing.assert_array_equal(mapped.action, BACK)
    mapper.safety.forget()
    mapped = mapper.act(OUT, state, lambda: [np.full(7, np.nan, np.float32)])
    np.testing.assert_array_equal(mapped.action, OUT)


def test_no_other_candidate_is_asked_for_while_the_first_is_only_delayed(at_a_limit):
    mapper, state = at_a_limit

    def never():
        raise AssertionError("asked for others")

    applied = mapper.act(np.array([1, 0, 0, 0, 0, 0, -1], np.float32), state, never).applied
    assert 0 < applied[0] < 1
    assert mapper.safety.interventions["acceleration"] == 1
