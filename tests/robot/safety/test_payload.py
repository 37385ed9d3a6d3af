"""What is in the hand: weighed by motion, reckoned with as declared, held where it is more."""

import dataclasses

import numpy as np
import pytest

from sql_ros.checks.verify.safety import PAYLOAD_KG, HostileLoop, hard_cells
from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Arm
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.filter import SafetyFilter
from sql_ros.robot.tasks import load_task, stack
from sql_ros.sim.simulation import Simulation
from sql_ros.trials.disturbance import Disturbance
from sql_ros.trials.protocol import ProtocolConfig
from sql_ros.trials.session import Session

ROBOT = load_robot("sawyer")
SCENE = "sim/scenes/sawyer_reach.xml"
LOADED = next(cell for cell in hard_cells("sawyer", ROBOT, SCENE) if cell.robot.payload_kg).robot


def _run(robot, payload_kg, rate_hz, seconds=2.5, scale=4.0, push=None):
    """Move by random torques with a payload in the hand; return the filter."""
    period, sim, arm = 1.0 / rate_hz, Simulation(SCENE, robot), Arm(robot)
    safety = SafetyFilter(robot, "torque", period, SCENE)
    safety.observes_payload = True
    sim.disturb(Disturbance("payload", payload_kg))
    rng = np.random.default_rng(0)
    for step in range(round(seconds * rate_hz)):
        if step % round(0.25 * rate_hz) == 0:
            wish = scale * rng.uniform(-1.0, 1.0, 7)
        if push is not None and step == round(0.5 * rate_hz):
            sim.disturb(push)
        m = sim.measure()
        sim.command(
            "torque",
            safety.admit(wish, arm.state(m.stamp_ns, m.position, m.velocity, m.effort)),
            period,
        )
        sim.advance(sim.physics_steps(rate_hz))
    return safety


@pytest.mark.parametrize("rate_hz", [20.0, 100.0, 500.0])
@pytest.mark.parametrize("payload_kg", [0.0, 0.2, 0.5])
def test_a_payload_is_weighed_by_how_the_arm_moves(rate_hz, payload_kg):
    safety = _run(LOADED, payload_kg, rate_hz)
    assert safety.payload.mass_kg == pytest.approx(payload_kg, abs=0.12)
    assert safety._commands.dynamics.load_kg == pytest.approx(payload_kg, abs=0.12)
    assert not safety.payload.reasons


def test_a_payload_that_states_tell_late_is_weighed_as_well():
    period, payload_kg, robot = 0.02, 0.4, dataclasses.replace(LOADED, latency_s=0.04)
    sim, arm = Simulation(SCENE, robot), Arm(robot)
    safety = SafetyFilter(robot, "torque", period, SCENE)
    sim.disturb(Disturbance("payload", payload_kg))
    rng, late = np.random.default_rng(0), []
    for step in range(120):
        if step % 12 == 0:
            wish = 4.0 * rng.uniform(-1.0, 1.0, 7)
        m = sim.measure()
        late.append(arm.state(m.stamp_ns, m.position, m.velocity, m.effort))
        sim.command("torque", safety.admit(wish, late[max(len(late) - 3, 0)]), period)
        sim.advance(sim.physics_steps(1.0 / period))
    assert safety.payload.mass_kg == pytest.approx(payload_kg, abs=0.15)


def test_more_than_declared_is_a_reason_to_hold_and_what_is_declared_is_none():
    assert "payload_kg is 0.5" in _run(LOADED, 1.6, 100.0).payload.reasons["payload"]
    assert "payload_kg is 0" in _run(ROBOT, 1.0, 20.0).payload.reasons["payload"]
    assert not _run(ROBOT, 0.0, 20.0).payload.reasons


def test_a_push_of_a_moment_is_no_payload():
    push = Disturbance("push", 70.0, "right_hand", (0.0, 0.0, -70.0), 0.3, 0.1)
    assert not _run(ROBOT, 0.0, 100.0, push=push).payload.reasons


@pytest.mark.parametrize("rate_hz", [20.0, 100.0])
def test_a_declared_payload_breaks_no_limit_and_an_undeclared_one_does(
    rate_hz,
):
    assert not +HostileLoop(LOADED, SCENE, "torque", rate_hz, 3).run(600).violations
    trial = HostileLoop(LOADED, SCENE, "torque", rate_hz, 3)
    trial.filter = SafetyFilter(ROBOT, "torque", 1.0 / rate_hz, SCENE)
    assert trial.run(600).violations.total() > 0


def test_a_payload_that_throws_the_arm_about_before_it_is_weighed_is_refused():
    robot = dataclasses.replace(load_robot("ur5e"), payload_kg=1.0)
    with pytest.raises(
        ConfigError,
        match=(
            r"'payload_kg' is 1, expected at most 0.11: before it is weighed it accelerates"
            r" wrist_2_joint"
        ),
    ):
        SafetyFilter(robot, "torque", 0.01)
    SafetyFilter(robot, "velocity", 0.01)  # there the arm's own controller carries it
    with pytest.raises(ConfigError, match="which no 'effort_limit' of 'sawyer' holds"):
        SafetyFilter(dataclasses.replace(ROBOT, payload_kg=30.0), "torque", 0.01)


def test_a_task_declares_more_than_its_robot_not_less():
    task = load_task("sawyer_stack")
    heavier = stack.Task(
        "stack",
        dataclasses.replace(task.config, payload_kg=0.4, payload_center_m=(0.0, 0.0, 0.02)),
        ROBOT,
    )
    assert (heavier.robot.payload_kg, heavier.robot.payload_center_m) == (0.4, (0.0, 0.0, 0.02))
    with pytest.raises(
        ConfigError,
        match=r"'payload_kg' is 0.2, expected at least 0.5, that of the robot file 'sawyer'",
    ):
        stack.Task(
            "stack",
            dataclasses.replace(task.config, payload_kg=0.2),
            dataclasses.replace(ROBOT, payload_kg=0.5),
        )
    with pytest.raises(ConfigError, match="'payload_center_m' is given without a 'payload_kg'"):
        stack.Task(
            "stack", dataclasses.replace(task.config, payload_center_m=(0.0, 0.0, 0.0)), ROBOT
        )


def test_an_operator_puts_no_more_into_the_hand_than_the_filter_reckons_with():
    task, protocol = load_task("sawyer_stack"), ProtocolConfig(repeats=1, payload_kg=(0.2, 0.4))
    with pytest.raises(
        ConfigError,
        match=r"by hand, 'payload_kg' goes up to 0.4 kg, but the safety filter reckons with 0 kg",
    ):
        Session(task, ActionMapper(task), protocol, 0, by_hand=True)
    assert (
        Session(task, ActionMapper(task), protocol, 0).trial is not None
    )  # in simulation nobody is near
    declared = stack.Task("stack", dataclasses.replace(task.config, payload_kg=0.4), ROBOT)
    assert Session(declared, ActionMapper(declared), protocol, 0, by_hand=True).trial is not None


def test_what_is_verified_may_be_declared():
    for name in PAYLOAD_KG:
        for cell in hard_cells(name, load_robot(name), f"sim/scenes/{name}_reach.xml"):
            SafetyFilter(cell.robot, "torque", 0.05, cell.scene)
