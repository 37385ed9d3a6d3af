"""The filter before the arm: nothing passes after which the arm could not stop in time."""

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Arm
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.filter import SafetyFilter
from sql_ros.sim.simulation import Simulation
from sql_ros.trials.disturbance import Disturbance

ROBOT = load_robot("sawyer")
ARM = Arm(ROBOT)
N = len(ROBOT.joints)
PERIOD = 0.05
SCENE = "sim/scenes/sawyer_reach.xml"
NEUTRAL = np.array(ROBOT.neutral_position)
SPEED, ACCELERATION = (
    ROBOT.limit_fraction * np.array(x) for x in (ROBOT.velocity_limit, ROBOT.acceleration_limit)
)
MODES = ["velocity", "position", "torque"]


@pytest.fixture(scope="module")
def filters():
    """One filter per mode, built once; `fresh(mode)` gives it as if new."""
    built = {mode: SafetyFilter(ROBOT, mode, PERIOD, SCENE) for mode in MODES}

    def fresh(mode: str) -> SafetyFilter:
        built[mode].forget()
        built[mode].interventions.clear()
        return built[mode]

    return fresh


def _state(position=None, velocity=None):
    zero = np.zeros(N)
    return ARM.state(
        0, NEUTRAL if position is None else position, zero if velocity is None else velocity, zero
    )


def _speeding_up(safety, wish, state, steps=40):
    """Velocity commands for a state that stays as it is but for the velocity, which follows."""
    commands = []
    for _ in range(steps):
        commands.append(safety.admit(wish, state))
        state = dataclasses.replace(state, velocity=commands[-1])
    return commands


@pytest.mark.parametrize("mode", MODES)
def test_an_admissible_command_passes_unchanged_to_the_bit(filters, mode):
    safety = filters(mode)
    command = {
        "velocity": np.full(N, 0.3),
        "position": NEUTRAL + 0.005,
        "torque": np.array([3.0, 3.0, 1.0, 1.0, 0.1, 0.1, 0.05]),
    }[mode]
    np.testing.assert_array_equal(safety.admit(command, _state()), command)
    assert not safety.interventions


@pytest.mark.parametrize("mode", MODES)
def test_for_want_of_a_newer_state_the_arm_is_taken_to_be_where_the_last_command_led(filters, mode):
    steps, command = (
        6,
        {"velocity": SPEED, "position": NEUTRAL + 0.08, "torque": np.full(N, 1.5)}[mode],
    )
    heard, reckoned = SafetyFilter(ROBOT, mode, PERIOD, SCENE), filters(mode)
    state = only = _state()
    for _ in range(steps):
        admission, again = heard.consider(command, state), reckoned.consider(command, only)
        np.testing.assert_allclose(again.velocity, admission.velocity, atol=1e-9)
        np.testing.assert_allclose(reckoned.send(again), heard.send(admission), atol=1e-6)
        mean = (
            0.5 * (state.velocity + admission.velocity) if mode == "torque" else admission.velocity
        )
        state = _state(state.position + PERIOD * mean, admission.velocity)
    assert np.abs(state.position - NEUTRAL).max() > 0.01


@pytest.mark.parametrize("spike", [3.0, 20.0])
@pytest.mark.parametrize("mode", ["velocity", "position"])
def test_a_velocity_that_is_measured_wrong_moves_no_arm_that_is_held(filters, mode, spike):
    safety, wrong = filters(mode), np.zeros(N)
    wrong[0] = spike
    for velocity in (np.zeros(N), wrong, -wrong):
        held = safety.hold(_state(velocity=velocity))
        np.testing.assert_array_equal(held, NEUTRAL if mode == "position" else np.zeros(N))


@pytest.mark.parametrize("mode", MODES)
def test_a_velocity_that_is_measured_wrong_asks_for_nothing_beyond_the_limits(filters, mode):
    safety, wrong = filters(mode), np.zeros(N)
    wrong[0] = 20.0
    rest = NEUTRAL if mode == "position" else np.zeros(N)
    safety.admit(rest, _state())
    admission = safety.consider(rest, _state(velocity=wrong))
    if mode == "torque":
        believed = dataclasses.replace(_state(), velocity=np.minimum(wrong, 1.5 * SPEED))
        np.testing.assert_array_equal(admission.command, safety.consider(rest, believed).command)
    else:
        assert (np.abs(admission.velocity) <= SPEED).all()
        np.testing.assert_allclose(
            admission.command, rest + admission.velocity * (PERIOD if mode == "position" else 1.0)
        )


def test_a_position_command_does_not_go_back_to_where_the_arm_was_before_somebody_moved_it():
    robot = load_robot("ur5e")
    safety, arm, pose = (
        SafetyFilter(robot, "position", PERIOD),
        Arm(robot),
        np.array(robot.neutral_position),
    )
    zero = np.zeros(len(pose))
    safety.hold(arm.state(0, pose, zero, zero))
    moved = pose + 0.1
    np.testing.assert_array_equal(safety.hold(arm.state(10**10, moved, zero, zero)), moved)


@pytest.mark.parametrize("steps", [3, 6])
def test_an_arm_that_position_commands_reach_late_is_waited_for_not_thrown_back(steps):
    safety, sim, turn = (
        SafetyFilter(ROBOT, "position", PERIOD, SCENE),
        Simulation(SCENE, ROBOT),
        np.zeros(N),
    )
    sim.disturb(Disturbance("delay", steps))
    turn[0], commands = 1.4, []
    for _ in range(30):
        before = sim.measure()
        velocity = before.velocity.copy()
        commands.append(
            safety.steer(turn, ARM.state(before.stamp_ns, before.position, velocity, before.effort))
        )
        sim.command("position", commands[-1], PERIOD)
        sim.advance(sim.physics_steps(1.0 / PERIOD))
        assert (
            np.abs(sim.measure().velocity - velocity) <= PERIOD * np.array(ROBOT.acceleration_limit)
        ).all()
    assert (np.diff(np.array(commands)[:, 0]) >= 0.0).all()
    assert commands[-1][0] > 0.6
    assert safety.interventions["tracking"] > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("mode", MODES)
def test_a_command_that_is_not_finite_becomes_a_hold(filters, mode, value):
    safety, command = filters(mode), np.zeros(N)
    command[3] = value
    held = safety.admit(command, _state())
    np.testing.assert_allclose(held, NEUTRAL if mode == "position" else np.zeros(N), atol=1e-12)
    assert safety.interventions == {"non_finite": 1}


def test_a_joint_keeps_its_limits_of_acceleration_and_speed(
    filters,
):
    safety = filters("velocity")
    slow = dataclasses.replace(ROBOT, tip_speed_limit_m_s=10.0)
    safety = SafetyFilter(slow, "velocity", 0.005)
    wish = np.zeros(N)
    wish[6] = 100.0
    commands = np.array(_speeding_up(safety, wish, _state(), 150))
    changes = np.diff(np.concatenate((np.zeros((1, N)), commands)), axis=0)
    np.testing.assert_allclose(changes[0, 6], 0.005 * ACCELERATION[6])
    assert (np.abs(changes) <= 0.005 * ACCELERATION + 1e-12).all()
    np.testing.assert_allclose(commands[-1, 6], SPEED[6])
    assert set(safety.interventions) == {"velocity", "acceleration"}


@pytest.mark.parametrize("latency_s", [0.01, 0.036, 0.05])
def test_torques_that_take_effect_late_make_no_joint_faster_than_it_may_be(latency_s):
    """What was sent before and does not show yet is reckoned with."""
    period, torque, sim = (
        0.01,
        np.append(np.zeros(N - 1), 9.0),
        Simulation("sim/robots/sawyer.xml", ROBOT),
    )
    safety = SafetyFilter(dataclasses.replace(ROBOT, latency_s=latency_s), "torque", period)
    sim.reset(np.append(NEUTRAL[:-1], -4.0))
    seen = [_state(sim.measure().position)] * (1 + round(latency_s / sim.model.opt.timestep))
    speeds = []
    for _ in range(80):
        sim.command("torque", safety.admit(torque, seen[0]), period)
        for _ in range(sim.physics_steps(1.0 / period)):
            sim.advance(1)
            m = sim.measure()
            seen = [*seen[1:], ARM.state(m.stamp_ns, m.position, m.velocity, m.effort)]
            speeds.append(m.velocity[6])
    assert max(speeds) == pytest.approx(SPEED[6], rel=0.02)


@pytest.mark.parametrize("payload_kg", [0.0, 0.3])
@pytest.mark.parametrize("mode", ["position", "velocity", "torque"])
def test_a_latency_that_is_told_later_counts_as_one_of_the_config(mode, payload_kg):
    period, latency_s = 0.02, 0.07
    robot = dataclasses.replace(ROBOT, payload_kg=payload_kg)
    told = SafetyFilter(robot, mode, period)
    known = SafetyFilter(dataclasses.replace(robot, latency_s=latency_s), mode, period)
    unaware = SafetyFilter(robot, mode, period)
    for safety in (told, known, unaware):
        safety.expect_delay(0.02)
    wishes = np.random.default_rng(0).uniform(-20.0, 20.0, (60, N))

    def commands(safety):
        sim = Simulation("sim/robots/sawyer.xml", ROBOT)
        sim.reset(NEUTRAL)
        sent = []
        for wish in wishes:
            m = sim.measure()
            state = ARM.state(m.stamp_ns, m.position, m.velocity, m.effort)
            command = safety.admit(
                state.position + 0.01 * wish if mode == "position" else wish, state
            )
            sim.command(mode, command, period)
            sim.advance(sim.physics_steps(1.0 / period))
            sent.append(command)
        return np.array(sent)

    commands(told)
    told.reckon_with_latency(latency_s)
    expected = commands(known)
    np.testing.assert_array_equal(commands(told), expected)
    if mode != "position":
        assert not np.array_equal(commands(unaware), expected)


def test_the_tool_is_no_faster_than_its_limit(filters):
    robot = dataclasses.replace(ROBOT, tip_speed_limit_m_s=0.2)
    safety = SafetyFilter(robot, "velocity", PERIOD)
    state = _state()
    jacobian = Simulation("sim/robots/sawyer.xml", ROBOT).tool_jacobian()
    commands = _speeding_up(safety, np.array([1.0, 0.5, 0, 0, 0, 0, 0.3]), state)
    speeds = [np.linalg.norm(jacobian @ command) for command in commands]
    assert 0.15 < max(speeds) <= 0.2
    assert safety.interventions["link_speed"] > 0
    # what does not move the tool is let through
    assert commands[-1][6] == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("is_told_later", [False, True])
def test_the_whole_share_of_the_limits_keeps_the_reduced_speed(is_told_later):
    """The slack of the programme does not come on top: 0.26 m/s were reached with `limit_fraction:
    1.0`.
    """
    robot = dataclasses.replace(ROBOT, limit_fraction=1.0, people_in_reach=not is_told_later)
    safety, sim, fastest = (
        SafetyFilter(robot, "velocity", PERIOD),
        Simulation("sim/robots/sawyer.xml", ROBOT),
        0.0,
    )
    safety.reduce_speed(is_told_later)
    rng = np.random.default_rng(0)
    jacobian = sim.tool_jacobian()
    for _ in range(30):
        safety.forget()
        wish = rng.uniform(-1.0, 1.0, N) * np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        fastest = max(
            fastest,
            *(
                np.linalg.norm(jacobian @ command)
                for command in _speeding_up(safety, wish, _state(), 8)
            ),
        )
    assert 0.2 < fastest <= 0.25


def test_effort_is_clipped_to_what_gravity_leaves_of_the_limit():
    weak = dataclasses.replace(ROBOT, effort_limit=(1.0, 20.0, 40.0, 40.0, 9.0, 9.0, 9.0))
    safety = SafetyFilter(weak, "torque", PERIOD)
    holding = -16.3026  # of right_j1 at the neutral pose, shared/facts/sawyer.md
    for sign in (1, -1):
        safety.forget()
        command = safety.admit(sign * np.array([1e4, 1e4, 0, 0, 0, 0, 0]), _state())
        assert abs(command[0]) <= 1.0 + 1e-9
        assert -20 - 1e-9 <= command[1] + holding <= 20 + 1e-9
    assert safety.interventions["effort"] == 2


def test_a_joint_at_its_margin_may_only_move_back():
    safety = SafetyFilter(ROBOT, "velocity", PERIOD)
    position = NEUTRAL.copy()
    position[6] = ROBOT.position_upper[6] - ROBOT.position_margin_rad
    out, back = np.zeros((2, N))
    out[6], back[6] = 1.0, -0.1
    np.testing.assert_array_equal(safety.admit(out, _state(position)), np.zeros(N))
    assert safety.interventions["position"] == 1
    np.testing.assert_array_equal(safety.admit(back, _state(position)), back)


@pytest.mark.parametrize("mode", MODES)
def test_a_moving_joint_is_stopped_at_its_margin_not_beyond_and_no_sooner(filters, mode):
    """By the arm as the filter sees it: torques change its speed evenly during the period, other
    commands at its beginning.
    """
    safety, last, position = filters(mode), np.zeros(N), NEUTRAL.copy()
    last[6] = 0.5 * SPEED[6]
    margin = ROBOT.position_upper[6] - ROBOT.position_margin_rad
    braking = last - PERIOD * np.append(np.zeros(N - 1), ACCELERATION[6])
    way = {"torque": 0.5 * PERIOD * (last + braking)}.get(mode, PERIOD * braking)[6] + braking[
        6
    ] ** 2 / (2.0 * ACCELERATION[6])
    position[6] = margin - way - 0.01
    state = _state(position, last)
    wish = {
        "velocity": last,
        "position": position + PERIOD * last,
        "torque": np.append(np.zeros(N - 1), 2.0),
    }[mode]
    velocity = safety.consider(wish, state).velocity[6]
    assert braking[6] < velocity < last[6]
    way = (
        0.5 * PERIOD * (last[6] + velocity) if mode == "torque" else PERIOD * velocity
    ) + velocity**2 / (2.0 * ACCELERATION[6])
    assert position[6] + way == pytest.approx(margin, abs=1e-4)
    assert position[6] + way < margin + 1e-8


@pytest.mark.parametrize(
    ("dead_s", "lag_s"), [(0.3, 0.0), (0.0, 0.3), (0.15, 0.15)], ids=["dead time", "lag", "both"]
)
def test_velocities_that_act_late_keep_positions_and_distances(dead_s, lag_s):
    """The latency is known exactly; the wish changes between the limits of speed at random."""
    step_s, rng = 0.01, np.random.default_rng(1)
    robot = dataclasses.replace(ROBOT, latency_s=dead_s + lag_s)
    safety = SafetyFilter(robot, "velocity", PERIOD, SCENE)
    position, velocity, command = NEUTRAL.copy(), np.zeros(N), np.zeros(N)
    under_way = []
    wish = np.zeros(N)
    for step in range(2000):
        if step % 5 == 0:
            if step % rng.choice([5, 50, 100]) == 0:
                wish = rng.choice([-1.0, 1.0], N) * ROBOT.velocity_limit
            under_way.append(
                (
                    step * step_s + dead_s,
                    safety.steer(wish, ARM.state(step + 1, position, velocity, np.zeros(N))),
                )
            )
        while under_way and under_way[0][0] <= step * step_s:
            command = under_way.pop(0)[1]
        velocity = (
            velocity + (1.0 - np.exp(-step_s / lag_s)) * (command - velocity) if lag_s else command
        )
        position = position + step_s * velocity
        beyond = np.maximum(
            np.array(ROBOT.position_lower) - position, position - ROBOT.position_upper
        )
        assert beyond.max() <= -ROBOT.position_margin_rad + 1e-3
        if step % 5 == 0:
            assert safety.clearance.measure_all(position).min() >= 0.95 * ROBOT.clearance_m


def test_velocity_commands_are_refused_beyond_the_longest_latency():
    late = dataclasses.replace(ROBOT, latency_s=0.35)
    with pytest.raises(ConfigError, match=r"expected at most 0[.]3 s for velocity commands"):
        SafetyFilter(late, "velocity", PERIOD)
    SafetyFilter(late, "position", PERIOD)


@pytest.mark.parametrize("mode", MODES)
def test_a_joint_beyond_its_limit_is_not_moved_farther(filters, mode):
    safety, position = filters(mode), NEUTRAL.copy()
    position[4] = ROBOT.position_upper[4] + 0.2
    state = _state(position)
    wish = {"velocity": 1.0, "position": position + 0.1, "torque": 5.0}[mode] * np.ones(N)
    velocity = safety.consider(wish, state).velocity
    assert velocity[4] <= 0.0
    assert np.abs(velocity).max() > 0.1  # the others move


@settings(max_examples=200, deadline=None)
# the quadratic programme rounds
@example([0.0, 0.0, 2.0, 0.0, 0.0, 0.0, -4.0], "position", 100000000)
# finite, but the velocity that it leads to is not
@example([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1e300], "torque", 0)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=N, max_size=N),
    st.sampled_from(MODES),
    st.integers(0, 2**31),
)
def test_whatever_is_asked_for_what_passes_keeps_the_limits_of_joints(filters, values, mode, seed):
    rng, safety = np.random.default_rng(seed), filters(mode)
    state = _state(
        rng.uniform(ROBOT.position_lower, ROBOT.position_upper), rng.uniform(-1, 1, N) * SPEED
    )
    with np.errstate(over="ignore"):
        admission = safety.consider(np.array(values), state)
    assert np.isfinite(admission.command).all()
    assert (np.abs(admission.velocity) <= SPEED + 1e-9).all()
    assert (np.abs(admission.velocity - state.velocity) <= PERIOD * ACCELERATION + 1e-9).all()


def test_the_nearest_admissible_velocity_slides_along_a_table(filters):
    """Down and sideways, just above it: sideways is let through, down is not."""
    sim = Simulation(SCENE, ROBOT)
    safety, state = filters("velocity"), _state()

    def move(way) -> None:
        """The arm is put a little farther on."""
        nonlocal state, jacobian
        sim.reset(state.position + np.linalg.pinv(jacobian) @ way)
        state, jacobian = _state(sim.measure().position), sim.tool_jacobian()

    sim.reset(NEUTRAL)
    jacobian = sim.tool_jacobian()
    while state.tool_position[0] < 0.65:
        move(np.array([0.004, 0.0, 0.0]))
    while not safety.consider(
        np.linalg.pinv(jacobian) @ np.array([0, 0, -0.2]), state
    ).is_elsewhere:
        move(np.array([0.0, 0.0, -0.004]))
    assert -0.1 + ROBOT.clearance_m < state.tool_position[2] < 0.1
    for _ in range(10):
        admission = safety.consider(np.linalg.pinv(jacobian) @ np.array([0.0, 0.15, -0.4]), state)
        safety.send(admission)
        state = dataclasses.replace(state, velocity=admission.velocity)
    tool = jacobian @ admission.velocity
    assert "collision" in admission.kinds
    assert tool[1] > 0.08
    assert tool[2] > -0.1


def test_what_is_too_near_already_may_stay_or_leave_but_not_come_nearer():
    pairs = (("right_l0", "right_l2"), ("right_l4", "right_l6"))
    # at the neutral pose turret and upper arm are 74 mm apart
    near = dataclasses.replace(ROBOT, clearance_m=0.08, always_near=pairs)
    safety = SafetyFilter(near, "velocity", PERIOD)
    gaps = []
    for sign in (1, -1):
        safety.forget()
        wish = np.zeros(N)
        wish[1] = 0.3 * sign
        gaps.append(safety.admit(wish, _state())[1] * sign)
    assert max(gaps) == pytest.approx(0.3)
    np.testing.assert_array_equal(safety.hold(_state()), safety.hold(_state()))


# elbow and forearm nearer than the clearance
BESIDE_THE_PEDESTAL = [-1.2815, 0.9107, 0.8612, 2.0125, -2.8507, -1.5466, -4.5487]
# the hand a hair farther than the clearance
OVER_THE_TABLE = [0.3881, 1.2774, -1.6154, 1.9134, 0.9636, -1.5897, 4.6606]


@pytest.mark.parametrize(
    ("pose", "scene", "count"),
    [(BESIDE_THE_PEDESTAL, SCENE, 2), (OVER_THE_TABLE, "sim/scenes/sawyer_stack.xml", 1)],
)
def test_torques_lead_an_arm_away_from_what_is_near_but_not_nearer_and_none_leaves_it_there(
    pose, scene, count
):
    """Where trainings got stuck for good."""
    state, sim, safety = (
        _state(np.array(pose)),
        Simulation(scene, ROBOT),
        SafetyFilter(ROBOT, "torque", PERIOD, scene),
    )
    gaps = safety.clearance.measure_all(state.position)
    near = gaps < ROBOT.clearance_m + 1e-4
    assert near.sum() == count
    np.testing.assert_allclose(safety.admit(np.zeros(N), state), 0.0, atol=1e-9)
    left = 0
    for torque in np.random.default_rng(0).uniform(-6.0, 6.0, (30, N)):
        safety.forget()
        sim.reset(state.position)
        sim.command("torque", safety.admit(torque, state), PERIOD)
        sim.advance(sim.physics_steps(1.0 / PERIOD))
        after = safety.clearance.measure_all(sim.measure().position)
        assert (after[near] > gaps[near] - 1e-4).all()  # as far as the arm does what its model says
        left += int((after[near] > gaps[near] + 1e-4).all())
    assert left > 15


@pytest.mark.parametrize("box", ["workspace", "keep_out"])
def test_guarded_points_keep_to_their_boxes(box):
    x, y, z = _state().tool_position.tolist()
    boxes = {"workspace": (x - 0.5, y - 0.5, z - 0.5, x + 0.06, y + 0.5, z + 0.5)}
    boxes["keep_out"] = ((x + 0.06, y - 0.2, z - 0.2, x + 0.3, y + 0.2, z + 0.2),)
    robot = dataclasses.replace(ROBOT, **{box: boxes[box]})
    sim, safety = (
        Simulation("sim/robots/sawyer.xml", ROBOT),
        SafetyFilter(robot, "velocity", PERIOD),
    )
    farthest = 0.0
    for _ in range(60):
        m = sim.measure()
        forward = np.linalg.pinv(sim.tool_jacobian()) @ np.array([0.5, 0.0, 0.0])
        sim.command(
            "velocity", safety.admit(forward, ARM.state(0, m.position, m.velocity, m.effort))
        )
        sim.advance(25)
        tool = sim.data.site("right_hand").xpos
        farthest = max(farthest, tool[0] - x)
        depth = tool[0] - (x + 0.06)
        # it may slide around it
        beside = box == "keep_out" and (np.abs(tool[1:] - (y, z)) > 0.2).any()
        assert depth < -0.5 * ROBOT.clearance_m or beside
    assert farthest > 0.02
    assert safety.interventions[box] > 0


@pytest.mark.parametrize("mode", MODES)
def test_holding_brings_a_moving_arm_to_rest_no_faster_than_it_may(filters, mode):
    """At 20 Hz, the slowest control rate in use, with the command held in between."""
    sim, safety = Simulation("sim/robots/sawyer.xml", ROBOT), filters(mode)
    for _ in range(8):
        m = sim.measure()
        sim.command(
            mode,
            safety.steer(np.full(N, 0.8), ARM.state(0, m.position, m.velocity, m.effort)),
            PERIOD,
        )
        sim.advance(25)
    assert np.abs(sim.measure().velocity).max() > 0.5
    for _ in range(40):
        before = sim.measure().velocity
        m = sim.measure()
        sim.command(mode, safety.hold(ARM.state(0, m.position, m.velocity, m.effort)), PERIOD)
        sim.advance(25)
        assert (
            np.abs(sim.measure().velocity - before) <= PERIOD * np.array(ROBOT.acceleration_limit)
        ).all()
    assert np.abs(sim.measure().velocity).max() < 0.05


def test_a_hold_without_a_fresh_state_brakes_by_what_was_sent_last_and_gives_no_torque(filters):
    moving = _state(velocity=np.full(N, 0.4))
    velocity = filters("velocity")
    velocity.send(velocity.consider(np.full(N, 0.4), moving))
    brakes = [velocity.hold(moving, fresh=False) for _ in range(5)]
    assert (brakes[0] > 0).all()
    assert (brakes[0] < 0.4).all()
    np.testing.assert_array_equal(brakes[-1], np.zeros(N))
    torque = filters("torque")
    assert np.abs(torque.hold(moving)).max() > 1.0
    np.testing.assert_array_equal(torque.hold(moving, fresh=False), np.zeros(N))


@pytest.mark.parametrize("period", [PERIOD, 0.002])
@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_measured_anew_changes_no_command(mode, period):
    """As by a filter that measures all distances at every look."""
    sim, safety, thorough = (
        Simulation(SCENE, ROBOT),
        *(SafetyFilter(ROBOT, mode, period, SCENE) for _ in range(2)),
    )
    thorough.clearance.measure_near = lambda position, velocity, duration: (
        thorough.clearance.measure_all(position)
    )
    thorough.clearance.stays_far = lambda position, velocity, duration: False
    rng, steps = np.random.default_rng(0), round(15.0 / period)
    sim.reset(np.array(OVER_THE_TABLE))
    for step in range(min(steps, 1500)):
        if step % max(round(0.5 / period), 1) == 0:
            share = rng.uniform(-1.0, 1.0, N)
        m = sim.measure()
        state = ARM.state(0, m.position, m.velocity, m.effort)
        command = {
            "velocity": share * SPEED,
            "position": m.position + share * SPEED * period,
            "torque": share * 20.0,
        }[mode]
        sent = safety.admit(command, state)
        np.testing.assert_allclose(thorough.admit(command, state), sent, atol=1e-6)
        sim.command(mode, sent, period)
        sim.advance(sim.physics_steps(1.0 / period))
    assert safety.interventions == thorough.interventions
    assert safety.interventions["collision"] > 0


def test_nothing_considered_counts_until_it_is_sent(filters):
    safety = filters("velocity")
    admission = safety.consider(np.full(N, 100.0), _state())
    assert not safety.interventions
    safety.send(admission)
    assert safety.interventions["acceleration"] == 1


def _run_late(mode, period, lateness_s, elapsed_s, tells=True):
    """Drive the last joint towards its limit by commands that act for `elapsed_s`.

    Return the farthest position and the speeds.
    """
    sim = Simulation("sim/robots/sawyer.xml", ROBOT)
    safety = SafetyFilter(ROBOT, mode, period, lateness_s=lateness_s)
    sim.reset(np.append(NEUTRAL[:-1], 2.5))
    wish = np.zeros(N)
    wish[-1] = {"velocity": 10.0, "torque": 9.0}[mode]
    rng = np.random.default_rng(0)
    farthest, speeds = -np.inf, [0.0]
    for _ in range(round(2.5 / elapsed_s[1])):
        m = sim.measure()
        sim.command(
            mode,
            safety.admit(wish, ARM.state(m.stamp_ns, m.position, m.velocity, m.effort)),
            period,
        )
        elapsed = rng.uniform(*elapsed_s)
        sim.advance(max(round(elapsed / sim.model.opt.timestep), 1))
        if tells:
            safety.elapsed(elapsed)
        speeds.append(sim.measure().velocity[-1])
        farthest = max(farthest, sim.measure().position[-1])
    return farthest, np.array(speeds)


@pytest.mark.parametrize(
    ("period", "elapsed_s"), [(0.002, (0.02, 0.02)), (0.02, (0.02, 0.05)), (0.05, (0.05, 0.1))]
)
@pytest.mark.parametrize("mode", ["velocity", "torque"])
def test_commands_late_within_the_declared_bound_break_no_margin(mode, period, elapsed_s):
    farthest, speeds = _run_late(mode, period, elapsed_s[1] - period, elapsed_s)
    assert 4.0 < farthest < ROBOT.position_upper[-1] - 0.5 * ROBOT.position_margin_rad
    assert speeds.max() < 1.02 * SPEED[-1]
    assert speeds.max() > 1.5


@pytest.mark.parametrize(("declared", "tells"), [(0.0, False), (0.0, True), (0.018, False)])
def test_a_loop_ten_times_too_slow_needs_bound_and_elapsed_time(declared, tells):
    """The case of the review: 2 ms period, run every 20 ms.

    Braking by the nominal period passes the hard limit.
    """
    farthest, _ = _run_late("velocity", 0.002, declared, (0.02, 0.02), tells)
    if tells:
        assert farthest < ROBOT.position_upper[-1]
    else:
        assert farthest > ROBOT.position_upper[-1]


def test_a_late_command_brakes_by_the_time_that_passed_and_speeds_up_by_one_period():
    safety = SafetyFilter(ROBOT, "velocity", 0.01, lateness_s=0.04)
    moving = np.zeros(N)
    moving[0] = 1.0
    for wish, change in ((-moving, -0.03), (moving * 2.0, 0.01)):
        safety.forget()
        safety.elapsed(0.03)
        admitted = safety.admit(wish, _state(velocity=moving))
        assert admitted[0] == pytest.approx(1.0 + change * ACCELERATION[0])
    safety.forget()
    safety.elapsed(0.03)
    assert safety.hold(_state(velocity=moving))[0] == pytest.approx(1.0 - 0.03 * ACCELERATION[0])
    # the next one is on time unless somebody says otherwise
    assert safety.hold(_state(velocity=moving))[0] == pytest.approx(1.0 - 0.04 * ACCELERATION[0])


@pytest.mark.parametrize("mode", MODES)
def test_a_loop_on_time_sends_the_same_to_the_bit_whether_it_says_so_or_not(filters, mode):
    said, silent = SafetyFilter(ROBOT, mode, PERIOD, SCENE), filters(mode)
    wish = {"velocity": SPEED, "position": NEUTRAL + 0.05, "torque": np.full(N, 2.0)}[mode]
    state = _state()
    for _ in range(6):
        said.elapsed(0.97 * PERIOD)
        np.testing.assert_array_equal(said.admit(wish, state), silent.admit(wish, state))


def test_without_a_newer_state_a_late_arm_is_taken_to_have_moved_for_longer():
    early, late = (SafetyFilter(ROBOT, "velocity", 0.01, lateness_s=0.04) for _ in range(2))
    state, wish = _state(), np.full(N, 0.05)
    for safety, elapsed in ((early, 0.01), (late, 0.05)):
        safety.admit(wish, state)
        safety.elapsed(elapsed)
    gap = late.consider(wish, state).start.position - early.consider(wish, state).start.position
    np.testing.assert_allclose(gap, 0.04 * 0.05)


def test_a_position_servo_that_overtakes_is_braked_as_sent():
    """It was taken to be as fast as measured: braking stood at 1.59 rad/s, through every limit."""
    robot = load_robot("ur5e")
    safety, arm = SafetyFilter(robot, "position", 0.05), Arm(robot)
    position, asked = np.array(robot.neutral_position), np.zeros(6)
    speeds = []
    for step in range(40):
        velocity = np.zeros(6)
        velocity[0] = asked[0] + 0.8 if asked[0] > 0.0 else 0.0
        state = arm.state(1 + step, position, velocity, np.zeros(6))
        before = position
        position = safety.steer(np.array([2.0 if step < 10 else 0.0, 0, 0, 0, 0, 0]), state)
        asked = (position - before) / 0.05
        speeds.append(asked[0])
    assert speeds[9] > 1.2
    assert speeds[-1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("mode", ["velocity", "torque"])
def test_an_arm_whose_states_may_be_late_stops_earlier(mode):
    """It moves on, unseen, for the delay: the joint limit was passed by 0.08 rad with one
    of 0.1 s.
    """
    robot, period, delay_s = load_robot("sawyer"), 0.02, 0.1
    fastest = {}
    for expected_s in (0.0, delay_s):
        safety = SafetyFilter(robot, mode, period)
        safety.expect_delay(expected_s)
        position = np.array(robot.neutral_position)
        position[0] = robot.position_upper[0] - robot.position_margin_rad - 0.15
        state = Arm(robot).state(1, position, np.eye(7)[0] * 1.0, np.zeros(7))
        safety.steer(np.eye(7)[0] * 1.4, state)
        fastest[expected_s] = safety.asked[0]
    assert fastest[delay_s] < fastest[0.0] - 0.05
