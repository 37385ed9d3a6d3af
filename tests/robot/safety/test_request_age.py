"""Requests to move the arm that arrive late."""

import pytest

from sql_ros.robot.safety.request_age import OLDEST_S, staleness

NOW_NS = 1_800_000_000 * 10**9


@pytest.mark.parametrize("age_s", [0.0, 0.5, 0.99, -0.5])
def test_a_request_that_is_new_is_none_to_refuse(age_s):
    assert staleness(NOW_NS - int(1e9 * age_s), NOW_NS) == ""


def test_the_first_request_of_a_source_can_be_late():
    """An operator presses start, the network is down, and comes back after 14 s."""
    assert "asked 14.0 s ago" in staleness(NOW_NS - 14 * 10**9, NOW_NS)
    assert staleness(NOW_NS - int(1e9 * (OLDEST_S + 0.01)), NOW_NS)


def test_a_clock_ahead_hides_the_age():
    assert "in the future" in staleness(NOW_NS + 2 * 10**9, NOW_NS)


def test_a_request_of_unknown_age_is_refused():
    assert "does not say when" in staleness(0, NOW_NS)
