"""Torque to velocity over one control period, against MuJoCo's own small steps."""

import dataclasses

import numpy as np
import pytest

from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.dynamics import Dynamics
from sql_ros.sim.simulation import Simulation
from sql_ros.trials.disturbance import Disturbance

ROBOT = load_robot("sawyer")
ARM = "sim/robots/sawyer.xml"


@pytest.mark.parametrize(("period", "tolerance"), [(0.05, 0.12), (0.002, 0.002)])
def test_a_period_at_constant_torque_ends_at_the_velocity_foretold(period, tolerance, rng):
    sim, dynamics = Simulation(ARM, ROBOT), Dynamics(ROBOT, ARM, period)
    sim.model.geom_contype[:] = 0
    errors = []
    for _ in range(40):
        position = rng.uniform(ROBOT.position_lower, ROBOT.position_upper) * 0.8
        velocity = rng.uniform(-1, 1, 7) * ROBOT.velocity_limit * 0.7
        after = velocity + rng.uniform(-1, 1, 7) * period * np.array(ROBOT.acceleration_limit)
        torque = dynamics.torque_for(after, position, velocity)
        if (np.abs(torque + dynamics.gravity(position)) > ROBOT.effort_limit).any():
            continue
        sim.reset(position)
        sim.data.qvel[sim.velocity_address] = velocity
        sim.command("torque", torque)
        sim.advance(sim.physics_steps(1 / period))
        errors.append(np.abs(sim.measure().velocity - after).max())
        np.testing.assert_allclose(
            dynamics.velocity_after(torque, position, velocity), after, atol=tolerance
        )
    assert len(errors) > 20
    assert max(errors) < tolerance


def test_gravity_torques_are_those_of_the_oracle():
    """shared/facts/sawyer.md, section 7."""
    dynamics = Dynamics(ROBOT, ARM, 0.05)
    neutral = [0.0, -16.3026, -2.3389, -5.9377, 1.1831, 0.0931, 0.0]
    np.testing.assert_allclose(
        dynamics.gravity(np.array(ROBOT.neutral_position)), neutral, atol=1e-2
    )


@pytest.mark.parametrize("is_compensated", [False, True])
def test_a_load_changes_what_a_torque_leads_to_as_in_the_simulation(rng, is_compensated):
    sim = Simulation(ARM, ROBOT)
    sim.model.geom_contype[:] = 0
    load_kg = 0.8
    offset = tuple(sim.model.body_ipos[sim.model.site(ROBOT.tool).bodyid[0]].tolist())
    config = dataclasses.replace(
        ROBOT, payload_kg=load_kg, payload_center_m=offset, payload_is_compensated=is_compensated
    )
    dynamics, plain = Dynamics(config, ARM, 0.01), Dynamics(ROBOT, ARM, 0.01)
    dynamics.load_kg = load_kg
    missed, errors = [], []
    for _ in range(20):
        position = rng.uniform(ROBOT.position_lower, ROBOT.position_upper) * 0.8
        velocity = rng.uniform(-1, 1, 7) * ROBOT.velocity_limit * 0.5
        torque = rng.uniform(-1, 1, 7)
        sim.reset(position)
        sim.disturb(Disturbance("payload", load_kg))
        if is_compensated:
            sim.data.xfrc_applied[:] = 0.0  # its weight
        sim.data.qvel[sim.velocity_address] = velocity
        sim.command("torque", torque)
        sim.advance(sim.physics_steps(100))
        after = sim.measure().velocity
        errors.append(np.abs(dynamics.velocity_after(torque, position, velocity) - after).max())
        np.testing.assert_allclose(dynamics.torque_for(after, position, velocity), torque, atol=0.6)
        missed.append(np.abs(plain.velocity_after(torque, position, velocity) - after).max())
    assert max(errors) < 0.5 * max(missed)  # without the load
