"""Policies are taken over by a thread of their own, and taken apart by it."""

import itertools
import math
import threading
import weakref

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from sql_ros.nodes.message_signing import FollowedLearner, MessageSigner
from sql_ros.nodes.messages import policy_to_msg
from sql_ros.nodes.policy_intake import MOST_WAITING, PolicyIntake
from sql_ros.robot.control.episode_actor import Actor

pytestmark = pytest.mark.stack


@pytest.mark.long
def test_a_policy_is_taken_apart_by_the_thread_that_takes_over_not_by_the_step_that_used_it_last(
    task, untrained
):
    actor, by = Actor(task, 0), []
    intake = PolicyIntake(actor, FollowedLearner(MessageSigner("")), None, lambda: None)

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


@pytest.mark.long
def test_an_actor_that_is_not_active_keeps_only_the_newest_policies(task, untrained):
    handled = []
    actor = Actor(task, 0)
    intake = PolicyIntake(
        actor, FollowedLearner(MessageSigner("")), None, lambda: handled.append(intake.version)
    )
    for version in range(1, MOST_WAITING + 4):
        intake.on_policy(policy_to_msg(untrained(version=version)))
    intake.finish()
    intake.install_policies()
    assert handled == list(range(4, MOST_WAITING + 4))
    intake.on_policy(policy_to_msg(untrained(version=20)))
    intake.finish()
    intake.install_policies()  # activated again
    assert intake.version == 20


@pytest.fixture
def slow(untrained) -> bytes:
    """A policy of version 7 that takes some milliseconds for an action, and does nothing with
    them.
    """
    model = onnx.load_model_from_string(untrained(version=7))
    for node in model.graph.node:
        node.input[:] = ["delayed" if name == "observation" else name for name in node.input]
    size = (
        next(item for item in model.graph.input if item.name == "observation")
        .type.tensor_type.shape.dim[1]
        .dim_value
    )
    rng = np.random.default_rng(0)
    wide = numpy_helper.from_array(rng.standard_normal((size, 16000)).astype(np.float32), "wide")
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    column = numpy_helper.from_array(np.full((16000, 1), 1e-5, np.float32), "column")
    names = ["wide0", *(f"wide{number}" for number in range(1, 200))]
    work = [helper.make_node("MatMul", ["observation", "wide"], ["wide0"])]
    work += [
        helper.make_node("Erf", [before], [after]) for before, after in itertools.pairwise(names)
    ]
    work += [
        helper.make_node("MatMul", [names[-1], "column"], ["sum"]),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["observation", "nothing"], ["delayed"]),
    ]
    nodes = [*work, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend([wide, zero, column])
    return bytes(model.SerializeToString())


class _Faults:
    """Takes the place of the diagnostics."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def fault(self, kind: str, message: str) -> None:
        self.said.append(f"{kind}: {message}")


@pytest.mark.short("500 Hz")
@pytest.mark.parametrize(
    ("period_s", "is_taken"), [(math.inf, True), (0.002, False)], ids=["lockstep", "500 Hz"]
)
def test_a_policy_that_takes_longer_than_the_control_loop_has_is_refused(
    task, untrained, slow, period_s, is_taken
):
    """Once in use it would make every step late.

    Before, it stays where it was and the former one acts.
    """
    actor, faults = Actor(task, 0), _Faults()
    intake = PolicyIntake(actor, FollowedLearner(MessageSigner("")), faults, lambda: None, period_s)
    for data in (untrained(version=1), slow):
        intake.on_policy(policy_to_msg(data))
    intake.finish()
    intake.install_policies()
    assert intake.version == (7 if is_taken else 1), faults.said
    assert intake.handled_version == (7 if is_taken else 2)
    assert (
        any(
            "ms for an action, expected at most 1.00 ms, half a control period" in line
            for line in faults.said
        )
        is not is_taken
    )
