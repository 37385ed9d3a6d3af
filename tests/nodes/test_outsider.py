"""Somebody who has no key, on the same network as a stack that has one: tries everything, and
everything is refused and counted.
"""

import copy

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Float64MultiArray, UInt8MultiArray, UInt64MultiArray

from sql_ros.common.shared_key import make_key
from sql_ros.nodes.message_signing import MessageSigner
from sql_ros.nodes.messages import Progress, policy_to_msg, progress_to_msg
from sql_ros.nodes.qos import LATCHED, RELIABLE, REPLAY

pytestmark = pytest.mark.stack
SESSION = 5
TOPICS = {
    "replay": (Float64MultiArray, REPLAY),
    "policy": (UInt8MultiArray, LATCHED),
    "learner/progress": (UInt64MultiArray, RELIABLE),
}


@pytest.fixture
def said(probe):
    """The newest values on /diagnostics, by node."""
    values: dict[str, dict[str, str]] = {}

    def hear(message) -> None:
        for status in message.status:
            values[status.name.split(":")[0]] = {entry.key: entry.value for entry in status.values}

    probe.node.create_subscription(DiagnosticArray, "/diagnostics", hear, 10)
    return lambda node, key: int(values.get(node, {}).get(key, 0))


class Outsider:
    """Hears all there is, and speaks on the same topics with a key of its own."""

    def __init__(self, probe, key_file: str) -> None:
        self.signer = MessageSigner(key_file)
        self.heard = {
            topic: probe.listen(kind, topic, qos) for topic, (kind, qos) in TOPICS.items()
        }
        self._publishers = {
            topic: probe.node.create_publisher(kind, topic, qos)
            for topic, (kind, qos) in TOPICS.items()
        }

    def say(self, topic: str, message) -> None:
        self._publishers[topic].publish(message)

    def altered(self, topic: str):
        """The last message of a topic, but for one value."""
        message = copy.deepcopy(self.heard[topic][-1])
        message.data[-1] = 0.25 if topic == "replay" else message.data[-1] ^ 1
        return message


@pytest.fixture
def outsider(probe, tmp_path):
    make_key(tmp_path / "own")
    return Outsider(probe, str(tmp_path / "own"))


def _bare(message):
    """Without its signature."""
    message = copy.deepcopy(message)
    message.layout.dim = list(message.layout.dim)[:-1]
    return message


@pytest.fixture
def stack(processes, fast_learner, tmp_path):
    """A training stack with a key; `stack()` starts the learner again."""
    make_key(tmp_path / "key")
    key = {"key_file": tmp_path / "key"}

    def learner():
        return processes.node(
            "learner",
            run_dir=tmp_path / "run",
            resume=bool(started),
            policy_period_s=0.5,
            **key,
            **fast_learner,
        )

    started: list = []
    started.append(learner())
    processes.node("sim_bridge", realtime_factor=5.0)
    processes.node(
        "actor",
        {"commands": "sim_bridge/commands"},
        realtime_factor=5.0,
        max_state_age_s=1.0,
        max_lateness_s=1.0,
        **key,
    )

    def again() -> None:
        assert processes.stop(started[-1]) == 0
        started.append(learner())

    return again


@pytest.mark.long
def test_an_outsider_is_refused_whatever_it_tries(stack, outsider, probe, said, untrained):
    probe.wait(
        lambda: said("actor", "policy_version") >= 2 and all(outsider.heard.values()),
        what="policies of the stack's own learner",
    )
    assert said("actor", "fault/policy_refused") == said("learner", "fault/transition_refused") == 0

    recorded = copy.deepcopy(outsider.heard["replay"][-1])
    for message in (
        _bare(recorded),
        outsider.altered("replay"),
        outsider.signer.sign(_bare(recorded), SESSION),
    ):
        outsider.say("replay", message)
    probe.wait(
        lambda: said("learner", "fault/transition_refused") == 3,
        what="not signed, altered, foreign",
    )
    repeated = said("learner", "fault/transition_repeated")
    outsider.say("replay", recorded)
    probe.wait(
        lambda: said("learner", "fault/transition_repeated") > repeated,
        what="recorded transition, in the same session",
    )

    version = said("actor", "policy_version")
    old = copy.deepcopy(outsider.heard["policy"][0])
    forged = policy_to_msg(untrained(version + 1000))
    for count, message in enumerate(
        (
            forged,
            outsider.altered("policy"),
            outsider.signer.sign(copy.deepcopy(forged), SESSION),
            old,
        ),
        start=1,
    ):
        outsider.say("policy", message)
        probe.wait(
            lambda: said("actor", "fault/policy_refused") == count,  # noqa: B023
            what=f"policy {count}",
        )
    assert version <= said("actor", "policy_version") < version + 1000

    lie = progress_to_msg(Progress(10**6, 0, 0, {int(recorded.data[1]): 10**6}))
    before = copy.deepcopy(outsider.heard["learner/progress"][0])
    for message in (
        lie,
        outsider.altered("learner/progress"),
        outsider.signer.sign(copy.deepcopy(lie), SESSION),
        before,
    ):
        outsider.say("learner/progress", message)
    probe.wait(lambda: said("actor", "fault/progress_refused") == 4, what="progress")
    assert said("actor", "fault/progress_dropped") == 0


@pytest.mark.long
def test_what_was_recorded_before_the_learner_was_started_again_is_worth_nothing(
    stack, outsider, probe, said
):
    probe.wait(
        lambda: (
            said("actor", "policy_version") >= 1
            and outsider.heard["policy"]
            and outsider.heard["replay"]
        )
    )
    policy, transition = (
        copy.deepcopy(outsider.heard["policy"][-1]),
        copy.deepcopy(outsider.heard["replay"][-1]),
    )
    stack()
    had = said("learner", "transitions")
    probe.wait(
        lambda: said("learner", "transitions") > had + 100,
        what="transitions signed for the new learner",
    )
    counted = said("learner", "fault/transition_of_other_session")
    outsider.say("replay", transition)
    probe.wait(lambda: said("learner", "fault/transition_of_other_session") > counted)
    refused = said("actor", "fault/policy_refused")
    outsider.say("policy", policy)
    probe.wait(lambda: said("actor", "fault/policy_refused") > refused)
    version = said("actor", "policy_version")
    probe.wait(
        lambda: said("actor", "policy_version") > version, what="the policies of the new learner"
    )
