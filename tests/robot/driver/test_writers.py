"""Two writers of one topic are told from one by the numbers of their messages."""

import pytest

from sql_ros.robot.driver.writers import CONTESTED_S, SILENCE_S, WriterWatch


def test_one_writer_is_never_contested_whatever_is_lost():
    watch = WriterWatch()
    for tick, number in enumerate((1, 2, 3, 900, 901, 5000)):
        assert not watch.heard(number, tick / 100)
        assert not watch.is_contested(tick / 100)


@pytest.mark.parametrize(
    ("first", "second"), [(1000, 1), (1, 1000), (5, 5), (5, 6), (6, 5), (7, 5)]
)
@pytest.mark.parametrize("every", [1, 8])
def test_two_writers_in_turn_are_contested_for_as_long_as_both_speak(first, second, every):
    """Each second message, or each eighth, is of the second writer."""
    watch, now = WriterWatch(), 0.0
    for tick in range(400):
        now += 0.01
        if tick % (every + 1) == every:
            second += 1
            watch.heard(second, now)
        else:
            first += 1
            watch.heard(first, now)
        assert watch.is_contested(now) or tick < 2 * every + 2
    assert not watch.is_contested(now + CONTESTED_S)


def test_a_restarted_writer_holds_for_a_moment_or_not_at_all():
    watch = WriterWatch()
    watch.heard(500, 0.0)
    assert not watch.heard(1, SILENCE_S + 0.1)
    assert watch.heard(1, SILENCE_S + 0.2)
    assert not watch.is_contested(SILENCE_S + 0.2 + CONTESTED_S)


def test_a_middleware_without_numbers_raises_no_alarm():
    watch = WriterWatch()
    assert not [number for number in (None, None, 3, None) if watch.heard(number, 0.0)]
