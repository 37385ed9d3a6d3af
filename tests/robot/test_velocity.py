"""Velocities from positions: exact where they can be, and safe in the closed loop."""

from dataclasses import replace

import numpy as np
import pytest

from sql_ros.checks.verify.safety import HostileLoop, Tally, cells
from sql_ros.robot.arm import Arm, RobotState
from sql_ros.robot.safety.filter import SafetyFilter
from sql_ros.robot.velocity import LONGEST_GAP_NS, WINDOW_NS, PositionDifferentiator, late_shares

MS = 1_000_000


@pytest.mark.parametrize("rate_hz", [125, 250, 500, 1000])
def test_constant_speed_is_exact_at_irregular_intervals(rate_hz, rng):
    differentiator, stamp = PositionDifferentiator(), 0
    for _ in range(200):
        stamp += round(1e9 / rate_hz * rng.uniform(0.05, 1.95))
        velocity = differentiator.velocity(stamp, np.array([0.3, -1.0]) * 1e-9 * stamp)
        if stamp > 3 * WINDOW_NS:
            assert velocity == pytest.approx([0.3, -1.0], abs=1e-6)


@pytest.mark.parametrize(
    ("rate_hz", "lag_s"), [(125, 0.008), (500, 0.007), (1000, 0.007), (50, 0.010)]
)
def test_it_lags_by_half_the_window(rate_hz, lag_s):
    """At constant acceleration, of 1 rad/s^2."""
    differentiator = PositionDifferentiator()
    for tick in range(100):
        time_s = tick / rate_hz
        velocity = differentiator.velocity(round(1e9 * time_s), np.array([0.5 * time_s**2]))
    assert time_s - velocity[0] == pytest.approx(lag_s, abs=1e-6)


def test_nothing_is_known_before_the_window_is_full_and_after_a_gap():
    differentiator = PositionDifferentiator()
    assert differentiator.velocity(0, np.zeros(1)) is None
    assert differentiator.velocity(WINDOW_NS - MS, np.zeros(1)) is None
    assert differentiator.velocity(WINDOW_NS, np.zeros(1)) is not None
    after = WINDOW_NS + LONGEST_GAP_NS + MS
    assert differentiator.velocity(after, np.ones(1)) is None
    assert differentiator.velocity(after + WINDOW_NS, np.ones(1)).tolist() == [0.0]


def test_a_stamp_that_stands_or_is_overtaken_changes_nothing():
    differentiator = PositionDifferentiator()
    for tick in range(4):
        differentiator.velocity(tick * 8 * MS, np.array([tick * 0.008]))
    for stamp in (24 * MS, 20 * MS):
        assert differentiator.velocity(stamp, np.array([9.0])) == pytest.approx([1.0])
    assert differentiator.velocity(32 * MS, np.array([0.032])) == pytest.approx([1.0])


class Differentiated(HostileLoop):
    """A trial whose filter sees velocities from positions that come at a rate, with jitter."""

    def __init__(self, *args, state_rate_hz: float, seed: int = 0) -> None:
        super().__init__(*args, seed)
        self._interval_s, self._jitter = 1.0 / state_rate_hz, np.random.default_rng(seed)
        self._chunk = 1

    def _draw_start(self) -> None:
        super()._draw_start()
        self._differentiator = PositionDifferentiator()
        self._next_ns = 0
        self._listen()

    def _known_state(self, state: RobotState) -> RobotState:
        """As the actor, which makes its step with a state that just arrived."""
        self._next_ns = 0
        self._listen()
        velocity = state.velocity if self._velocity is None else self._velocity  # set moving
        measured = self._arm.state(state.stamp_ns, state.position, velocity, state.effort)
        return super()._known_state(measured)

    def _listen(self) -> None:
        now = self._sim.time_ns
        if now >= self._next_ns:
            wait_s = self._interval_s * self._jitter.uniform(0.7, 1.3)
            self._next_ns = now + round(1e9 * wait_s)
            position = self._sim.measure().position
            self._velocity = self._differentiator.velocity(now, position)

    def _observe_limits(self, tally: Tally) -> None:
        self._listen()
        super()._observe_limits(tally)


@pytest.mark.short("125.0-*")
@pytest.mark.parametrize("mode", ["velocity", "position", "torque"])
@pytest.mark.parametrize("state_rate_hz", [125.0, 1000.0])
def test_no_limit_is_broken_with_velocities_from_positions(mode, state_rate_hz):
    for cell in (cells()[0], cells()[2]):
        for rate_hz in (20.0, 100.0):
            robot = replace(cell.robot, velocity_from_position=True)
            trial = Differentiated(robot, cell.scene, mode, rate_hz, state_rate_hz=state_rate_hz)
            tally = trial.run(200)
            assert not +tally.violations, (cell.name, rate_hz, tally.worst)


@pytest.mark.parametrize("period_s", [0.05, 0.01, 0.002])
def test_what_an_average_lacks_is_the_lag_at_constant_acceleration(period_s):
    """Of 1 rad/s^2; half of the window."""
    assert sum(period_s * share for share in late_shares(period_s)) == pytest.approx(0.008)


def test_the_torque_filter_adds_what_its_last_command_changed():
    """From rest, at 100 Hz: the average over 16 ms shows 5/16 of the change of the last 10 ms."""
    cell = cells()[2]
    robot = replace(cell.robot, velocity_from_position=True)
    safety, arm = SafetyFilter(robot, "torque", 0.01, cell.scene), Arm(robot)
    neutral, zero = np.array(robot.neutral_position), np.zeros(6)
    rest = arm.state(10**9, neutral, zero, zero)
    admission = safety.consider(np.full(6, 1.0), rest)
    safety.send(admission)
    after = admission.velocity
    late = arm.state(10**9 + 10**7, neutral + 0.005 * after, 5 / 16 * after, zero)
    assert safety.consider(zero, late).start.velocity == pytest.approx(after)
