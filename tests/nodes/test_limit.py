"""A run has as many transitions as asked for, whoever made them."""

from sql_ros.nodes.limit import TransitionLimit
from sql_ros.nodes.messages import Progress


def test_transitions_of_others_and_of_earlier_sessions_count():
    limit = TransitionLimit(100, run=7)
    assert not limit.is_reached(Progress(0, 0, 0, {}), 99)
    assert limit.is_reached(Progress(0, 0, 0, {}), 100)
    assert not limit.is_reached(Progress(60, 0, 0, {7: 10}), 49)  # 50 of others
    assert limit.is_reached(Progress(60, 0, 0, {7: 10}), 50)
    assert set(limit.reasons(Progress(100, 0, 0, {}), 0)) == {"limit_reached"}


def test_without_a_limit_nothing_is_held():
    assert not TransitionLimit(0, run=7).reasons(Progress(10**9, 0, 0, {}), 10**9)
