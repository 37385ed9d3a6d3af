"""Which of two processes gives way; claims there and back."""

from dataclasses import replace

import pytest

from sql_ros.common.errors import MessageError
from sql_ros.nodes.claims import Claim, conflict, reason_to_yield
from sql_ros.nodes.messages import claim_from_msg, claim_to_msg

OLD = Claim("/actor", "/commands", since_ns=10, id=1, process="11 on here")
NEW = replace(OLD, since_ns=20, id=2, process="22 on there")


def test_of_two_nodes_of_one_name_the_one_activated_later_gives_way():
    assert reason_to_yield(NEW, OLD) == "another /actor is there (process 11 on here)"
    assert not reason_to_yield(OLD, NEW)


def test_of_two_activated_at_the_same_time_exactly_one_gives_way():
    same = replace(NEW, since_ns=OLD.since_ns)
    assert bool(reason_to_yield(same, OLD)) != bool(reason_to_yield(OLD, same))


def test_a_node_that_is_not_active_keeps_nobody_out():
    idle = replace(OLD, since_ns=0)
    assert conflict(NEW, idle)
    assert not reason_to_yield(NEW, idle)
    assert reason_to_yield(idle, NEW)


def test_two_actors_of_one_command_topic_conflict_whatever_their_names():
    left = replace(OLD, node="/left/trials")
    assert (
        reason_to_yield(NEW, left) == "/left/trials commands /commands already (process 11 on here)"
    )
    assert not conflict(NEW, replace(left, commands="/left/commands"))
    assert not conflict(replace(NEW, commands=""), replace(left, commands=""))


def test_of_two_stacks_in_a_namespace_the_one_started_later_gives_way():
    """Also where its other nodes have other names, and before a node of the older is active."""
    older = Claim("/lab/monitor", session="999")
    newer = Claim("/lab/learner", session="1000", since_ns=5)
    assert reason_to_yield(newer, older).startswith(
        "another stack is in this namespace: /lab/monitor"
    )
    assert not reason_to_yield(older, newer)
    assert not conflict(newer, replace(older, node="/hall/monitor"))
    assert not conflict(newer, replace(older, session="1000"))
    assert not conflict(newer, replace(older, session=""))


def test_a_process_does_not_conflict_with_itself():
    assert not conflict(OLD, OLD)


def test_a_claim_survives_and_a_wrong_one_is_refused():
    assert claim_from_msg(claim_to_msg(NEW)) == NEW
    assert claim_from_msg(claim_to_msg(Claim("/a", id=3))).commands == ""
    for alter in (
        lambda m: m.data.pop(),
        lambda m: m.layout.dim.pop(),
        lambda m: setattr(m.layout.dim[0], "label", "sql_ros.claim/0 since_ns id"),
        lambda m: setattr(m.layout.dim[1], "label", "node /actor\nINFO all is well"),
        lambda m: setattr(m.layout.dim[2], "label", "commands " + "x" * 1000),
    ):
        message = claim_to_msg(NEW)
        alter(message)
        with pytest.raises(MessageError, match="claim has"):
            claim_from_msg(message)
