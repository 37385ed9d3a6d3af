"""Late states are found by the clock, and by the growth of their delay where the driver has a
clock of its own.
"""

import pytest

from sql_ros.robot.safety.state_delay import PATIENCE_S, SETTLED_S, StateDelay

CLOCK_NS = 1_700_000_000_000_000_000  # of this computer at steady time 0
TOLERANCE_S, MAX_AGE_S = 0.02, 0.1
LATENCY_S = 0.01
AWAY_S = -7200.0  # of the driver's clock, where that is another


class Driver:
    """Sends a state every 10 ms to a `StateDelay`."""

    def __init__(
        self, clock_s: float = 0.0, latency_s: float = 0.0, *, own_clock: bool = False
    ) -> None:
        self.watch = StateDelay(latency_s, TOLERANCE_S, MAX_AGE_S, has_own_clock=own_clock)
        self.clock_s = clock_s
        self.now = 5.0
        self.leaps: list[str] = []

    def send(self, count: int = 1, delay_s: float = 0.0) -> None:
        """States that arrive so late after they were measured."""
        for _ in range(count):
            self.now += 0.01
            measured_ns = CLOCK_NS + round(1e9 * (self.now - delay_s + self.clock_s))
            leap = self.watch.take(measured_ns, CLOCK_NS + round(1e9 * self.now), self.now)
            self.leaps += [leap] if leap else []

    @property
    def is_late(self) -> bool:
        return set(self.watch.reasons) == {"state_late"}


@pytest.fixture(params=[0.0, AWAY_S], ids=["same clock", "other clock"])
def driver(request):
    driver = Driver(request.param, own_clock=bool(request.param))
    driver.send(100, delay_s=0.001)
    assert not driver.watch.reasons
    return driver


@pytest.mark.parametrize("delay_s", [0.03, 0.1, 0.3, 0.99, 1.01, 60.0, 1e8])
def test_a_constant_delay_is_late_from_the_first_state_on(delay_s):
    driver = Driver()
    driver.send(delay_s=delay_s)
    assert driver.is_late
    driver.send(100, delay_s=delay_s)
    assert driver.is_late
    assert (
        f"arrive {delay_s:.3f} s after their stamps, at most 0.020 s"
        in driver.watch.reasons["state_late"]
    )
    driver.send()
    assert not driver.watch.reasons


def test_a_delay_within_the_latency_of_the_arm_is_in_time():
    driver = Driver(latency_s=0.3)
    driver.send(100, delay_s=0.3)
    assert not driver.watch.reasons
    driver.send(100, delay_s=0.33)
    assert driver.is_late


def test_a_delay_that_grows_is_late_whatever_the_clock(driver):
    for step in range(100):
        driver.send(delay_s=0.001 + 0.001 * step)
    assert driver.is_late


def test_a_delay_that_stays_larger_is_late_after_the_patience(driver):
    driver.send(round(PATIENCE_S / 0.01) - 1, delay_s=0.05)
    assert not driver.watch.reasons
    driver.send(2, delay_s=0.05)
    assert driver.is_late
    driver.send(10, delay_s=0.001)
    assert not driver.watch.reasons


def test_one_state_that_is_too_old_is_late_at_once(driver):
    driver.now += 0.2
    driver.send(delay_s=MAX_AGE_S + 0.01)
    assert driver.is_late
    driver.send(delay_s=0.001)
    assert not driver.watch.reasons


def test_jitter_is_no_lateness(driver):
    for _ in range(100):
        driver.send(7, delay_s=0.06)
        driver.send(delay_s=0.005)
        assert not driver.watch.reasons


def test_a_delay_of_a_clock_of_its_own_that_lasts_is_held_for_ever():
    """A growth of the delay by 0.05 s could be a drift after 100 s."""
    driver = Driver(AWAY_S, own_clock=True)
    driver.send(100, delay_s=0.001)
    driver.send(30_000, delay_s=0.05)
    assert driver.is_late


def test_clocks_that_drift_apart_are_no_lateness():
    driver = Driver(AWAY_S, own_clock=True)
    for _ in range(60_000):
        driver.clock_s -= 1e-4 * 0.01
        driver.send(delay_s=0.001)
        assert not driver.watch.reasons


@pytest.mark.parametrize("ahead_s", [0.03, 0.5, 7200.0])
def test_stamps_ahead_of_the_clock_hold_the_arm(ahead_s):
    driver = Driver(ahead_s)
    driver.send(10, delay_s=0.001)
    assert f"{ahead_s - 0.001:.3f} s ahead of this computer's clock" in str(driver.watch.reasons)


def test_a_clock_that_is_synchronised_ends_the_hold():
    driver = Driver(7200.0)
    driver.send(10, delay_s=0.001)
    assert driver.is_late
    driver.clock_s = 0.0
    driver.send(100, delay_s=0.001)
    assert not driver.watch.reasons


def test_clocks_that_differ_by_less_than_the_tolerance_are_one():
    driver = Driver(0.015)
    driver.send(100, delay_s=0.001)
    assert not driver.watch.reasons
    driver.send(50, delay_s=0.03)
    assert driver.is_late


@pytest.mark.parametrize("clock_s", [AWAY_S, -1.5, 0.5])
def test_a_clock_of_its_own_is_told_by_growth_alone(clock_s):
    driver = Driver(clock_s, own_clock=True)
    driver.send(100, delay_s=0.001)
    assert not driver.watch.reasons
    driver.send(50, delay_s=0.03)
    assert driver.is_late
    assert "0.029 s later after their stamps than they did" in str(driver.watch.reasons)


@pytest.mark.parametrize("leap_s", [0.2, 3600.0])
def test_a_stamp_that_leaps_forward_is_told_once(driver, leap_s):
    driver.clock_s += leap_s
    driver.send(100, delay_s=0.001)
    assert driver.leaps == [
        f"the stamps of the states leaped forward by {leap_s:.3f} s more than time passed: was a"
        " clock set?"
    ]


def test_a_leap_after_the_first_state_is_told():
    driver = Driver()
    driver.send(delay_s=0.001)
    driver.clock_s += 0.2
    driver.send(delay_s=0.001)
    assert len(driver.leaps) == 1


def test_the_end_of_a_delay_is_no_leap():
    driver = Driver()
    driver.send(100, delay_s=0.3)
    assert driver.is_late
    driver.send(100, delay_s=0.001)
    assert not driver.leaps
    assert not driver.watch.reasons


def test_states_that_were_lost_are_no_leap(driver):
    driver.now += 10.0
    driver.send(100, delay_s=0.001)
    assert not driver.leaps


def test_states_that_waited_for_the_reader_are_no_leap():
    """The first ones waited in a queue, all were read at once.

    And the process was stopped for a while.
    """
    driver = Driver()
    for late in (2.0, 1.9, 1.8, 1.7):
        driver.send(delay_s=late)
    driver.send(round(SETTLED_S / 0.01) + 10, delay_s=0.001)
    driver.now += 0.6
    driver.send(5, delay_s=0.5)
    assert driver.is_late
    driver.send(100, delay_s=0.001)
    assert not driver.leaps
    assert not driver.watch.reasons


def test_after_a_clock_was_set_back_states_are_late(driver):
    driver.clock_s -= 10.0
    driver.send(100, delay_s=0.001)
    assert driver.is_late


@pytest.mark.parametrize("back_s", [0.15, 10.0])
def test_a_clock_of_its_own_that_goes_back_holds_until_the_next_activation(back_s):
    """The states may as well be old ones, which a driver sends again."""
    driver = Driver(AWAY_S, own_clock=True)
    driver.send(100, delay_s=0.001)
    driver.clock_s -= back_s
    driver.send(100, delay_s=0.001)
    (leap,) = driver.leaps
    assert "leaped back" in leap
    assert driver.is_late
    assert "deactivate and activate" in driver.watch.reasons["state_late"]
    driver.watch.forget()
    driver.send(100, delay_s=0.001)
    assert not driver.watch.reasons


@pytest.mark.parametrize("is_stamped", [True, False], ids=["stamped", "unstamped"])
def test_a_state_without_a_stamp_among_others_holds_until_the_next_activation(driver, is_stamped):
    """It must not begin a new comparison, in which old states would be in time."""
    driver.watch.forget()
    for stamped in (is_stamped, not is_stamped, is_stamped):
        if stamped:
            driver.send(10, delay_s=0.001)
        else:
            leap = driver.watch.take(0, CLOCK_NS + round(1e9 * driver.now), driver.now)
            driver.leaps += [leap] if leap else []
    assert driver.leaps == ["some states have a stamp and others have none (0)"]
    driver.send(100, delay_s=0.001)
    assert driver.is_late


def test_states_that_never_have_a_stamp_are_in_time(driver):
    driver.watch.forget()
    for _ in range(100):
        driver.now += 0.01
        assert not driver.watch.take(0, CLOCK_NS + round(1e9 * driver.now), driver.now)
    assert not driver.watch.reasons


def test_a_delay_of_a_clock_of_its_own_that_grows_slowly_is_late_in_the_end():
    """It looks like a drift of clocks, which the largest allowed age bounds."""
    driver = Driver(AWAY_S, own_clock=True)
    seconds = 0
    while not driver.is_late and seconds < 3600:
        seconds += 1
        driver.send(100, delay_s=0.49e-3 * seconds)
    assert 0.49e-3 * seconds == pytest.approx(MAX_AGE_S + TOLERANCE_S, abs=2e-3)
    driver.send(1000, delay_s=0.49e-3 * seconds)
    assert driver.is_late
