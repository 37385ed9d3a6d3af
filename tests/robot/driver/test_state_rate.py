"""The rate of states against that of control."""

import pytest

from sql_ros.robot.driver.state_rate import StateRate

PERIOD_S = 0.05


def _hear(rate: StateRate, every_s: float, seconds: float, start: float = 0.0) -> list[float]:
    """Give states at an interval; return the times at which they were found slow."""
    times = [start + every_s * number for number in range(round(seconds / every_s))]
    return [at for at in times if rate.heard(at)]


def test_states_slower_than_control_are_found_once():
    rate = StateRate(PERIOD_S)
    found = _hear(rate, 1.0 / 15.0, 30.0)
    assert len(found) == 1
    assert 3.0 <= found[0] < 3.2
    assert rate.rate_hz == pytest.approx(15.0)


@pytest.mark.parametrize("every_s", [0.002, PERIOD_S, 1.05 * PERIOD_S])
def test_states_as_fast_as_control_are_not_slow(every_s):
    assert not _hear(StateRate(PERIOD_S), every_s, 10.0)


def test_a_silence_is_no_low_rate():
    rate = StateRate(PERIOD_S)
    for start in range(0, 40, 4):
        assert not _hear(rate, 0.01, 2.0, float(start))


def test_states_that_became_fast_and_slow_again_are_found_again():
    rate = StateRate(PERIOD_S)
    assert _hear(rate, 0.1, 10.0)
    assert not _hear(rate, 0.01, 10.0, 10.0)
    assert _hear(rate, 0.1, 10.0, 20.0)
