"""Transitions that no learner has acknowledged are kept up to a limit."""

from types import SimpleNamespace

import numpy as np

from sql_ros.common.transition_log import Ledger
from sql_ros.nodes import transition_outbox
from sql_ros.nodes.message_signing import MessageSigner
from sql_ros.nodes.messages import TransitionCodec
from sql_ros.nodes.transition_outbox import TransitionOutbox
from sql_ros.policy.transition import Transition
from sql_ros.robot.control.step import Step


def test_so_many_transitions_are_kept_for_a_learner_and_no_more(small_spec, monkeypatch):
    monkeypatch.setattr(transition_outbox, "MOST_KEPT", 100)
    faults, sent, ledger = [], [], Ledger()
    outbox = TransitionOutbox(
        SimpleNamespace(create_publisher=lambda *_: SimpleNamespace(publish=sent.append)),
        TransitionCodec(small_spec),
        MessageSigner(""),
        SimpleNamespace(fault=lambda kind, _: faults.append(kind)),
        actor_id=0,
        run=1,
        ledger=ledger,
    )
    zeros = np.zeros(small_spec.observation_size, np.float32)
    action = np.zeros(small_spec.action_size, np.float32)
    for _ in range(103):
        outbox.publish(Step(action), Transition(zeros, action, 0.0, zeros, False, False))
    assert faults == ["transitions_given_up"] * 3
    assert (outbox.lacking, len(sent)) == (100, 103)
    assert ledger.ends() == (4, 103)
