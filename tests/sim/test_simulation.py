"""The simulated arm behaves like the real one's command interface."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from sql_ros.common.data_files import share_folder
from sql_ros.common.errors import ConfigError
from sql_ros.envs.arm_env import ArmEnv
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.task import Variation
from sql_ros.robot.tasks import load_task
from sql_ros.runs.rollout import SimulatedArm
from sql_ros.sim.simulation import Simulation

ROBOT = load_robot("sawyer")
NEUTRAL = np.array(ROBOT.neutral_position)


@pytest.fixture
def sim() -> Simulation:
    return Simulation("sim/scenes/sawyer_reach.xml", ROBOT)


def _mapper(sim: Simulation, mode: str, values: np.ndarray, seconds: float) -> None:
    for _ in range(round(seconds / 0.05)):
        sim.command(mode, values)
        sim.advance(25)


def test_zero_torque_floats_against_gravity(sim):
    _mapper(sim, "torque", np.zeros(7), 1.0)
    np.testing.assert_allclose(sim.measure().position, NEUTRAL, atol=2e-3)


def test_torque_is_added_to_gravity_compensation(sim):
    _mapper(sim, "torque", np.array([0, 0, 0, 0, 0, 0, 0.2]), 0.5)
    assert sim.measure().position[6] > NEUTRAL[6] + 0.05


def test_velocity_commands_are_followed(sim):
    velocity = np.array([0.3, -0.2, 0.2, 0.1, -0.4, 0.3, 0.5])
    _mapper(sim, "velocity", velocity, 0.5)
    np.testing.assert_allclose(sim.measure().velocity, velocity, atol=0.03)


def test_position_commands_are_reached_and_held(sim):
    goal = NEUTRAL + 0.2
    _mapper(sim, "position", goal, 3.0)
    np.testing.assert_allclose(sim.measure().position, goal, atol=5e-3)


def test_a_command_times_out_into_a_position_hold(sim):
    """Commands stop: the arm keeps moving for 0.2 s at most, then stands and keeps standing."""
    _mapper(sim, "velocity", np.full(7, 0.4), 0.3)
    sim.advance(75)  # with the 25 steps since the last command, 0.2 s: the time-out
    assert sim.mode == "velocity"
    sim.advance(100)
    assert sim.mode == "position"
    stopped = sim.measure().position.copy()
    sim.advance(500)
    np.testing.assert_allclose(sim.measure().position, stopped, atol=0.02)
    assert np.abs(sim.measure().velocity).max() < 0.02


def test_commands_are_clipped_to_the_limits(sim):
    _mapper(sim, "velocity", np.array([100.0, 0, 0, 0, 0, 0, 0]), 0.4)
    assert sim.measure().velocity[0] <= ROBOT.velocity_limit[0] + 0.02


def test_time_is_monotonic_across_a_reset(sim):
    sim.advance(50)
    before = sim.time_ns
    sim.reset(NEUTRAL + 0.1)
    assert sim.time_ns == before == 100_000_000
    np.testing.assert_array_equal(sim.measure().position, NEUTRAL + 0.1)


def test_a_reset_world_forgets_everything_but_time(sim):
    def trace():
        sim.reset(NEUTRAL)
        rows = []
        for step in range(40):
            sim.command("velocity", np.sin(step + np.arange(7.0)))
            sim.advance(25)
            rows.append(sim.measure().position.copy())
        return np.array(rows)

    first = trace()
    _mapper(sim, "torque", np.ones(7), 0.5)
    np.testing.assert_array_equal(first, trace())


@pytest.mark.parametrize("values", [np.zeros(6), np.full(7, np.nan)])
def test_a_bad_command_is_refused(sim, values):
    with pytest.raises(ValueError, match="expected 7 finite values"):
        sim.command("velocity", values)


def test_a_rate_that_does_not_fit_the_physics_is_refused_with_both_numbers(sim):
    assert sim.physics_steps(20.0) == 25
    with pytest.raises(ConfigError, match=r"0\.0142857 s is 7\.14286 physics steps of 0\.002 s"):
        sim.physics_steps(70.0)


def _scene(folder: Path, old: str, new: str) -> str:
    """The scene of `sawyer_reach` with another text in one place."""
    text = (share_folder() / "sim/scenes/sawyer_reach.xml").read_text()
    assert old in text
    path = folder / "scene.xml"
    path.write_text(text.replace(old, new))
    return str(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('<body name="goal" mocap="true"', '<body name="aim" mocap="true"'),
        ('<body name="goal" mocap="true"', '<body name="goal"'),
        ('<body name="goal" mocap="true"', '<body name="other" mocap="true"/><body name="goal"'),
    ],
)
def test_a_scene_without_a_goal_that_can_be_moved_is_refused(tmp_path, old, new):
    scene = _scene(tmp_path, old, new)
    with pytest.raises(
        ConfigError,
        match=(
            f"scene {scene} has no mocap body 'goal', .* expected one: <body name='goal'"
            " mocap='true'/>"
        ),
    ):
        Simulation(scene, ROBOT, goal=True)


def test_what_is_no_mocap_body_is_not_placed_and_no_other_in_its_stead(sim):
    before = sim.data.mocap_pos.copy()
    with pytest.raises(KeyError, match="table"):
        sim.place("table", np.ones(3))
    np.testing.assert_array_equal(sim.data.mocap_pos, before)


def test_a_tool_that_is_not_there_is_named_with_the_sites_there_are(tmp_path):
    scene = _scene(tmp_path, "</worldbody>", '<site name="mark"/></worldbody>')
    with pytest.raises(ConfigError, match=r"no site, body or link 'left_hand'.*right_hand"):
        Simulation(scene, dataclasses.replace(ROBOT, tool="left_hand"))
    held = dataclasses.replace(ROBOT, tool="left_hand", scene=scene)
    with pytest.raises(
        ConfigError,
        match=f"scene {scene}: .*'mark', 'right_hand'.*; expected .* its tool: a site 'left_hand'",
    ):
        Simulation(scene, held)


def test_all_that_makes_an_arm_for_a_task_asks_for_its_goal(tmp_path):
    """The Gymnasium environment and the arm of evaluations.

    The bridge is asked in tests/nodes/test_sim_bridge.py.
    """
    task = yaml.safe_load((share_folder() / "config/tasks/sawyer_reach.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump(task | {"scene": _scene(tmp_path, ' mocap="true"', "")})
    )
    with pytest.raises(ConfigError, match="no mocap body 'goal'"):
        SimulatedArm(load_task(str(tmp_path / "mine.yaml")))
    with pytest.raises(ConfigError, match="no mocap body 'goal'"):
        ArmEnv(str(tmp_path / "mine.yaml"))


def _turns(sim: Simulation, variation: Variation, seed: int) -> float:
    """How far a torque turns the last joint from rest in 0.2 s."""
    sim.reset(NEUTRAL)
    sim.vary(variation, np.random.default_rng(seed))
    _mapper(sim, "torque", np.array([0, 0, 0, 0, 0, 0, 1.0]), 0.2)
    return float(sim.measure().position[6] - NEUTRAL[6])


@pytest.mark.parametrize(
    "what", [{"torque": 0.5}, {"damping": 0.5}, {"armature": 0.5}, {"delay_steps": 3}]
)
def test_the_arm_can_differ_from_its_model_and_be_itself_again(sim, what):
    own = _turns(sim, Variation(), 0)
    others = [_turns(sim, Variation(**what), seed) for seed in range(8)]
    assert max(others) - min(others) > 0.05 * own
    assert _turns(sim, Variation(), 0) == pytest.approx(own)
    assert others[3] == _turns(sim, Variation(**what), 3)


def test_a_late_command_is_late_by_whole_control_steps(sim):
    sim.reset(NEUTRAL)
    seed = next(seed for seed in range(50) if _delay(sim, seed) == 2)
    sim.vary(Variation(delay_steps=2), np.random.default_rng(seed))
    moved = []
    for _ in range(4):
        sim.command("torque", np.array([0, 0, 0, 0, 0, 0, 1.0]))
        sim.advance(25)
        moved.append(sim.measure().position[6] - NEUTRAL[6])
    assert np.abs(moved[:2]).max() < 1e-3
    assert moved[2] > 1e-3


def _delay(sim: Simulation, seed: int) -> int:
    sim.vary(Variation(delay_steps=2), np.random.default_rng(seed))
    return sim.command_delay
