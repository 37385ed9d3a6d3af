"""What may be done to the simulated arm is done to it, as much and as long as said."""

import numpy as np
import pytest

from sql_ros.robot.arm import Arm
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.task import Variation
from sql_ros.sim.simulation import Simulation
from sql_ros.trials.disturbance import Disturbance

ROBOT = load_robot("sawyer")
NEUTRAL = np.array(ROBOT.neutral_position)
STEP_S = 0.002  # of the physics


@pytest.fixture
def sim() -> Simulation:
    return Simulation("sim/scenes/sawyer_reach.xml", ROBOT)


def _float(sim: Simulation, seconds: float) -> None:
    """Zero torque: the arm's own gravity compensation only."""
    for _ in range(round(seconds / 0.05)):
        sim.command("torque", np.zeros(7))
        sim.advance(round(0.05 / STEP_S))


def _tool(sim: Simulation) -> np.ndarray:
    return Arm(ROBOT).state(0, sim.measure().position, np.zeros(7), np.zeros(7)).tool_position


def _force(sim: Simulation, body: str) -> np.ndarray:
    return sim.data.xfrc_applied[sim.model.body(body).id, :3].copy()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_push_moves_the_arm_its_way(sim, axis):
    force = np.zeros(3)
    force[axis] = 30.0
    before = _tool(sim)
    sim.disturb(Disturbance("push", 30.0, "right_hand", tuple(force), 0.2, 0.0))
    _float(sim, 0.2)
    moved = _tool(sim) - before
    assert moved[axis] > 0.005
    assert moved[axis] > 0.7 * np.linalg.norm(moved)


def test_a_push_is_at_full_force_for_its_time_goes_down_evenly_and_is_over(sim):
    sim.disturb(Disturbance("push", 40.0, "right_l5", (0.0, 40.0, 0.0), 0.2, 0.1))
    sim.command("torque", np.zeros(7))
    seen = []
    for _ in range(80):
        sim.advance(round(0.005 / STEP_S) or 1)
        seen.append(_force(sim, "right_l5")[1])
    seconds = np.arange(80) * (round(0.005 / STEP_S) or 1) * STEP_S
    np.testing.assert_allclose(np.array(seen)[seconds < 0.195], 40.0)
    middle = (seconds > 0.21) & (seconds < 0.29)
    np.testing.assert_allclose(
        np.array(seen)[middle], 40.0 * (0.3 - seconds[middle]) / 0.1, atol=3.0
    )
    np.testing.assert_allclose(np.array(seen)[seconds > 0.305], 0.0)


def test_a_payload_pulls_down_with_its_weight_and_makes_the_hand_heavier(sim):
    hand = sim.model.site(ROBOT.tool).bodyid[0]
    mass, before = sim.model.body_mass[hand], _tool(sim)
    sim.disturb(Disturbance("payload", 0.5))
    np.testing.assert_allclose(sim.data.xfrc_applied[hand, :3], [0, 0, -0.5 * 9.81], rtol=1e-3)
    assert sim.model.body_mass[hand] == mass + 0.5
    _float(sim, 0.3)
    assert _tool(sim)[2] < before[2] - 0.01


def test_a_push_on_a_loaded_hand_leaves_the_load_when_it_is_over(sim):
    sim.disturb(Disturbance("payload", 0.5))
    sim.disturb(Disturbance("push", 10.0, "right_l5", (0.0, 10.0, 0.0), 0.05, 0.0))
    _float(sim, 0.2)
    np.testing.assert_allclose(
        sim.data.xfrc_applied[sim.model.site(ROBOT.tool).bodyid[0], 2], -0.5 * 9.81, rtol=1e-3
    )


def test_friction_and_damping_are_multiplied(sim):
    friction, damping = sim.model.geom_friction.copy(), sim.model.dof_damping.copy()
    sim.disturb(Disturbance("friction", 2.0))
    sim.disturb(Disturbance("damping", 0.5))
    np.testing.assert_allclose(sim.model.geom_friction, 2.0 * friction)
    np.testing.assert_allclose(sim.model.dof_damping, 0.5 * damping)


def test_what_is_done_again_takes_the_place_of_what_was_done_before(sim):
    friction, damping = sim.model.geom_friction.copy(), sim.model.dof_damping.copy()
    for size in (1e4, 1e4, 2.0):
        sim.disturb(Disturbance("friction", size))
        sim.disturb(Disturbance("damping", size))
    np.testing.assert_allclose(sim.model.geom_friction, 2.0 * friction)
    np.testing.assert_allclose(sim.model.dof_damping, 2.0 * damping)


def test_commands_are_late_by_the_delay(sim):
    sim.disturb(Disturbance("delay", 2))
    efforts = []
    for number in range(4):
        sim.command("torque", np.full(7, 1.0 + number))
        sim.advance(25)
        efforts.append(sim.measure().effort[0])
    assert efforts[2:] == pytest.approx([1.0, 2.0])
    assert np.abs(efforts[:2]).max() < 0.5


def test_states_are_lost_as_often_as_said_and_the_same_each_time(sim):
    sim.disturb(Disturbance("lost_states", 0.3))
    first = [sim.drops_state() for _ in range(2000)]
    assert np.mean(first) == pytest.approx(0.3, abs=0.04)
    sim.disturb(Disturbance("lost_states", 0.3))
    assert [sim.drops_state() for _ in range(2000)] == first


def test_states_that_would_all_be_lost_are_refused(sim):
    """In lockstep the bridge goes on until one arrives."""
    with pytest.raises(ValueError, match="expected a share of less than 1"):
        sim.disturb(Disturbance("lost_states", 1.0))
    assert not sim.drops_state()


def test_a_new_episode_ends_all_of_it(sim):
    nominal = (
        sim.model.body_mass.copy(),
        sim.model.geom_friction.copy(),
        sim.model.dof_damping.copy(),
    )
    for kind in ("payload", "friction", "damping", "delay"):
        sim.disturb(Disturbance(kind, 2.0))
    sim.disturb(Disturbance("lost_states", 0.9))
    sim.disturb(Disturbance("push", 40.0, "right_l5", (0.0, 40.0, 0.0), 10.0, 0.1))
    sim.vary(Variation(), np.random.default_rng(0))
    for now, then in zip(
        (sim.model.body_mass, sim.model.geom_friction, sim.model.dof_damping), nominal
    ):
        np.testing.assert_allclose(now, then)
    before = sim.measure().position.copy()
    _float(sim, 0.3)
    np.testing.assert_allclose(sim.measure().position, before, atol=2e-3)
    assert not any(sim.drops_state() for _ in range(100))


def test_what_is_over_leaves_the_arm_as_it_was_drawn(sim):
    sim.vary(Variation(friction=0.3, damping=0.3, delay_steps=2), np.random.default_rng(3))
    before = (
        sim.model.geom_friction.copy(),
        sim.model.dof_damping.copy(),
        sim.model.body_mass.copy(),
    )
    for kind in ("payload", "friction", "damping"):
        sim.disturb(Disturbance(kind, 2.0))
    sim.disturb(Disturbance("delay", 5))
    sim.disturb(Disturbance("lost_states", 0.9))
    sim.disturb(Disturbance("over", 0.0))
    for now, then in zip(
        (sim.model.geom_friction, sim.model.dof_damping, sim.model.body_mass), before
    ):
        np.testing.assert_array_equal(now, then)
    assert not any(sim.drops_state() for _ in range(100))
    for _ in range(4):
        sim.command("torque", np.full(7, 1.0))
        sim.advance(25)
    assert sim.measure().effort[0] == pytest.approx(1.0)


def test_an_arm_that_is_reset_is_at_neutral_and_undisturbed(sim):
    sim.disturb(Disturbance("delay", 5))
    sim.reset(NEUTRAL + 0.3)
    sim.disturb(Disturbance("reset", 0.0))
    np.testing.assert_allclose(sim.measure().position, NEUTRAL)
    sim.command("torque", np.full(7, 1.0))
    sim.advance(25)
    assert sim.measure().effort[0] == pytest.approx(1.0)


def test_a_target_moves_where_it_is_said_to(sim):
    sim.disturb(Disturbance("moved_target", 0.02, vector=(0.5, 0.1, 0.2)))
    np.testing.assert_allclose(
        sim.data.mocap_pos[sim.model.body("goal").mocapid[0]], [0.5, 0.1, 0.2]
    )


@pytest.mark.parametrize(
    ("disturbance", "word"),
    [
        (Disturbance("push", 10.0, "nobody", (1.0, 0.0, 0.0), 0.1), "nobody"),
        (Disturbance("payload", -1.0), "payload"),
        (Disturbance("damping", 1e6), "damping"),
        (Disturbance("friction", float("nan")), "friction"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(sim, disturbance, word):
    mass = sim.model.body_mass.copy()
    with pytest.raises(ValueError, match=word):
        sim.disturb(disturbance)
    np.testing.assert_array_equal(sim.model.body_mass, mass)
    assert not sim.data.xfrc_applied.any()


def test_an_unknown_kind_says_which_there_are():
    with pytest.raises(ValueError, match="lost_states"):
        Disturbance("earthquake", 1.0)
