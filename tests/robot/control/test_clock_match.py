"""A /clock that is not the time of the arm is told by the stamps of the arm's states."""

import pytest

from sql_ros.robot.control.clock_match import LEAST_S, WINDOW_S, ClockMatch
from sql_ros.robot.safety.state_watchdog import NO_REASONS

NS = 1_000_000_000


class Times:
    """States at 500 Hz by the steady clock, /clock at 1 kHz beside them."""

    def __init__(self) -> None:
        self.match = ClockMatch()
        self.now = 100.0
        self.clock = self.stamp = 5.0

    def run(
        self, seconds: float, clock_pace: float, stamp_pace: float, quantum_s: float = 0.001
    ) -> list[bool]:
        """Return whether the arm was held, state by state.

        /clock comes every `quantum_s` of its time.
        """
        held = []
        for _ in range(round(seconds * 500)):
            self.now += 0.002
            self.clock += 0.002 * clock_pace
            self.stamp += 0.002 * stamp_pace
            seen = quantum_s * (self.clock // quantum_s)
            self.match.take(round(seen * NS), round(self.stamp * NS), self.now)
            held.append("clock_mismatch" in self.match.reasons)
        return held


@pytest.fixture
def times() -> Times:
    return Times()


def test_before_the_first_state_nothing_is_said():
    assert ClockMatch().reasons is NO_REASONS


@pytest.mark.parametrize("pace", [0.1, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("quantum_s", [0.001, 0.1])
def test_a_simulators_own_clock_matches_after_a_first_window(times, pace, quantum_s):
    window = max(WINDOW_S / pace, LEAST_S)
    held = times.run(window + 0.05 + quantum_s / pace, pace, pace, quantum_s)
    assert held[0]
    assert not held[-1]
    assert not any(times.run(3.0 * window, pace, pace, quantum_s))


@pytest.mark.parametrize("pace", [0.1, 0.7, 1.3, 3.0, 10.0])
def test_a_foreign_clock_beside_a_real_arm_never_lets_it_move(times, pace):
    assert all(times.run(5.0, pace, 1.0))
    assert "A real arm is started without use_sim_time" in times.match.reasons["clock_mismatch"]


@pytest.mark.parametrize("pace", [0.7, 1.3])
def test_a_difference_of_pace_is_described(times, pace):
    times.run(1.5, pace, 1.0)
    assert "/clock advanced by " in times.match.reasons["clock_mismatch"]


@pytest.mark.parametrize(
    ("ahead_s", "way"),
    [(1.5, "1.5 s ahead of"), (-1.5, "1.5 s behind"), (-3600.0, "3600.0 s behind")],
)
def test_a_bag_played_at_the_pace_of_the_arm_never_lets_it_move(times, ahead_s, way):
    times.clock += ahead_s
    assert all(times.run(5.0, 1.0, 1.0))
    assert f"/clock is {way} the stamps of the states" in times.match.reasons["clock_mismatch"]


def test_a_clock_that_leaves_the_time_of_the_arm_holds_at_once(times):
    assert not times.run(2.0, 1.0, 1.0)[-1]
    times.clock += 1.5
    assert times.run(0.002, 1.0, 1.0) == [True]
    times.clock -= 1.5
    held = times.run(2.0, 1.0, 1.0)
    assert held[0]
    assert not held[-1]


@pytest.mark.parametrize("pace", [0.1, 3.0, 10.0])
def test_a_clock_that_changes_its_pace_is_noticed_within_two_windows(times, pace):
    times.run(1.5, 1.0, 1.0)
    held = times.run(2.1 * WINDOW_S, pace, 1.0)
    assert held[-1]
    times.clock = times.stamp
    held = times.run(2.1 * WINDOW_S, 1.0, 1.0)
    assert not held[-1]


def test_a_pause_of_the_simulator_is_no_mismatch(times):
    times.run(1.5, 1.0, 1.0)
    assert not any(times.run(3.0, 0.0, 0.0))
    assert not any(times.run(3.0, 1.0, 1.0))


def test_a_reset_of_the_simulator_is_no_mismatch(times):
    times.run(1.5, 1.0, 1.0)
    times.clock = times.stamp = 0.0
    assert not any(times.run(3.0, 1.0, 1.0))


def test_states_without_stamps_cannot_be_compared():
    match = ClockMatch()
    match.take(5 * NS, 0, 100.0)
    assert "have no stamp (0)" in match.reasons["clock_mismatch"]
    match.take(5 * NS, 5 * NS, 100.1)
    assert "is compared" in match.reasons["clock_mismatch"]
