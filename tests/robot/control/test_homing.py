"""The way to a start pose arrives in every command mode, and the actor acts in every one."""

import dataclasses

import numpy as np
import pytest

from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.control.homing import LONGEST_S, has_arrived
from sql_ros.robot.tasks.reach import Task
from sql_ros.runs.rollout import SimulatedArm

SCALES = {"velocity": 0.8, "position": 0.04, "torque": 2.0}


def _task(task: Task, mode: str) -> Task:
    return Task(
        task.spec.task,
        dataclasses.replace(task.config, command_mode=mode, action_scale=(SCALES[mode],) * 7),
        task.robot,
    )


@pytest.mark.parametrize("mode", SCALES)
def test_the_arm_arrives_at_rest(task, mode):
    moved = _task(task, mode)
    arm, pose = SimulatedArm(moved), np.array([0.5, -0.78, -0.5, 1.78, 0.5, 0.97, 2.8])
    mapper, steps = ActionMapper(moved), 0
    while not has_arrived(pose, arm.state()):
        command = mapper.approach(pose, arm.state())
        assert (
            mode != "velocity" or (np.abs(command) <= np.array(task.robot.velocity_limit) / 2).all()
        )
        arm.sim.command(mode, command, 0.05)
        arm.sim.advance(25)
        steps += 1
        assert steps < LONGEST_S / 0.05


@pytest.mark.parametrize("mode", SCALES)
def test_episodes_come_to_their_end_in_every_command_mode(task, mode):
    moved = _task(task, mode)
    arm, actor, transitions = SimulatedArm(moved), Actor(moved, seed=0), []
    summary = None
    while summary is None:
        step = arm.follow(actor)
        transitions += [step.transition] if step.transition else []
        summary = step.summary
    assert len(transitions) == moved.episode_steps
    assert all(
        np.abs(t.action).max() <= 1 and np.isfinite(t.next_observation).all() for t in transitions
    )
    # every joint moved
    assert np.ptp([t.observation[:7] for t in transitions], axis=0).min() > 0.01
