"""Policies are taken over by a thread of their own, and taken apart by it."""

import threading
import weakref

import pytest

from sql_ros.nodes.messages import policy_to_msg
from sql_ros.nodes.policy_intake import MOST_WAITING, PolicyIntake
from sql_ros.nodes.seal import Followed, Seal
from sql_ros.robot.actor import Actor

pytestmark = pytest.mark.stack


def test_a_policy_is_taken_apart_by_the_thread_that_takes_over_not_by_the_step_that_used_it_last(task, untrained):
    actor, by = Actor(task, 0), []
    intake = PolicyIntake(actor, Followed(Seal("")), None, lambda: None)

    def install(version: int) -> None:
        intake.on_policy(policy_to_msg(untrained(version=version)))
        intake.finish()
        thread = threading.Thread(target=intake.install_policies, name="policies")
        thread.start()
        thread.join()
        assert intake.version == version

    install(1)
    in_use = actor.policy  # as a step that is under way has it
    weakref.finalize(in_use, lambda: by.append(threading.current_thread().name))
    install(2)
    del in_use
    assert by == []
    install(3)
    assert by == ["policies"]


def test_an_actor_that_is_not_active_keeps_only_the_newest_policies(task, untrained):
    handled = []
    actor = Actor(task, 0)
    intake = PolicyIntake(actor, Followed(Seal("")), None, lambda: handled.append(intake.version))
    for version in range(1, MOST_WAITING + 4):
        intake.on_policy(policy_to_msg(untrained(version=version)))
    intake.finish()
    intake.install_policies()
    assert handled == list(range(4, MOST_WAITING + 4))
    intake.on_policy(policy_to_msg(untrained(version=20)))
    intake.finish()
    intake.install_policies()  # activated again
    assert intake.version == 20
