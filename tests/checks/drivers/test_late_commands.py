"""Late commands of positions: an arm on a trajectory controller keeps to its acceleration limit,
measured as the recorder does.

The whole way of a command without DDS and threads: safety filter, adapter, the double's controller,
joints that follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from sql_ros.checks.drivers.controllers import Point, TrajectoryController
from sql_ros.checks.drivers.plant import KinematicArm
from sql_ros.checks.drivers.recorder import MotionRecord, MotionRecorder
from sql_ros.nodes.adapters import TrajectoryAdapter
from sql_ros.robot.arm import Arm
from sql_ros.robot.safety.filter import SafetyFilter
from sql_ros.robot.tasks import load_task

STEP_S = 0.002  # between two states of an e-Series
STEPS = 60  # control steps of a run
EVERY, LATE = 3, 0.6  # every third command is so many periods late
LIMIT = 1.3  # of the measured acceleration, share of the arm's limit: the filter uses 0.75 of it


@dataclass(frozen=True)
class _Way:
    """How commands are sent: with a brake behind them, and with a filter that is told when they
    leave.
    """

    brakes: bool = True
    tells: bool = True


ONE_POINT = _Way(brakes=False, tells=False)


def _play(way: _Way, late: float, seed: int = 0, *, ends: bool = False) -> MotionRecord:
    """Let an arm wander for some seconds; return the recorder's figures.

    Args:
        way: How commands are sent.
        late: Every third command is so many periods late.
        seed: Of the wishes.
        ends: After the first second no further command comes.
    """
    task = load_task("ur5e_reach")
    robot, period = task.robot, 1.0 / task.config.control_rate_hz
    joints, start = robot.joints, np.array(robot.neutral_position)
    safety = SafetyFilter(robot, "position", period, task.config.scene)
    adapter, forward = TrajectoryAdapter(joints, period), Arm(robot)
    plant = KinematicArm(start)
    controller = TrajectoryController(joints, start, from_desired=True)
    recorder = MotionRecorder(robot, "position", period, lambda position: _tool(forward, position))
    rng, wish = np.random.default_rng(seed), np.zeros(len(joints))
    due, sent, count, tick = period, 0.0, 0, 0
    while count < STEPS:
        tick += 1
        now = tick * STEP_S
        plant.advance(STEP_S, "position", controller.setpoint(now))
        recorder.take_state(now, plant.position, plant.velocity)
        if ends and now > 1.0:
            if now > 3.0:
                assert not plant.velocity.round(6).any()
                break
            continue
        if now < due:
            continue
        if count % 20 == 0:
            wish = rng.choice([-1.0, 1.0], len(joints))
        state = forward.state(round(now * 1e9), plant.position, plant.velocity, plant.effort)
        if way.tells and count:
            safety.follow_brake(now - sent)
        command = safety.admit(plant.position + task.config.action_scale * wish, state)
        message = adapter.to_msg(command, state.stamp_ns, safety.brake if way.brakes else None)
        points = [Point(_seconds(each.time_from_start), each.positions) for each in message.points]
        taken = controller.take_trajectory(now, joints, points, plant.position, plant.velocity)
        recorder.take_command(
            now,
            taken,
            plant.position,
            plant.velocity,
            controller.left_speed,
            controller.joined_speed,
        )
        sent, count = now, count + 1
        due = now + period * (1.0 + (late if count % EVERY == 0 else 0.0))
    return recorder.record


def _tool(forward: Arm, position: np.ndarray) -> np.ndarray:
    return forward.state(
        0, position, np.zeros_like(position), np.zeros_like(position)
    ).tool_position


def _seconds(duration) -> float:
    return duration.sec + 1e-9 * duration.nanosec


@pytest.mark.parametrize("seed", range(3))
def test_late_commands_keep_to_the_acceleration_limit(seed):
    record = _play(_Way(), LATE, seed)
    assert record.path_rad > 1.0
    assert record.acceleration < LIMIT
    assert record.step < 0.76  # what the filter admits, from the speed that the brake has left
    assert record.refused_commands == 0


@pytest.mark.parametrize("way", [ONE_POINT, _Way(tells=False)], ids=["one_point", "untold"])
def test_without_the_brake_or_a_filter_that_knows_it_they_do_not(way):
    """One point makes the arm stop and start.

    Behind a brake that the filter does not know of it goes too far, then too slowly.
    """
    assert _play(way, LATE).acceleration > 1.3 * LIMIT


def test_punctual_commands_are_no_worse_with_the_brake():
    assert _play(_Way(), 0.0).acceleration <= _play(ONE_POINT, 0.0).acceleration


def test_an_arm_that_gets_no_more_commands_brakes_within_its_limits():
    assert _play(_Way(), 0.0, ends=True).acceleration < 1.0
    assert _play(ONE_POINT, 0.0, ends=True).acceleration > 1.5
