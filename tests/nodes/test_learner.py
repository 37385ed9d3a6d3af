"""The learner over DDS: what it accepts, what it drops and counts, and that it goes on where it
stopped.
"""

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Float64MultiArray, UInt8MultiArray, UInt64MultiArray

from sql_ros.common.transition_log import Ledger
from sql_ros.learning.checkpoint import load_checkpoint
from sql_ros.learning.checkpoint_manifest import checkpoints
from sql_ros.nodes.messages import ReplayEntry, TransitionCodec, policy_from_msg, progress_from_msg
from sql_ros.nodes.qos import LATCHED, RELIABLE, REPLAY
from sql_ros.policy.runtime import Policy
from sql_ros.policy.transition import Transition

pytestmark = pytest.mark.stack


class Actor:
    """Publishes made-up transitions, 20 to an episode."""

    def __init__(self, probe, task, run: int = 7) -> None:
        self._codec, self._rng, self._size, self.run = (
            TransitionCodec(task.spec),
            np.random.default_rng(0),
            task.spec,
            run,
        )
        self.oldest = 1
        self.publisher = probe.node.create_publisher(Float64MultiArray, "replay", REPLAY)

    def message(self, sequence: int) -> Float64MultiArray:
        observation, following = self._rng.normal(size=(2, self._size.observation_size)).astype(
            np.float32
        )
        action = self._rng.uniform(-1, 1, self._size.action_size).astype(np.float32)
        transition = Transition(
            observation, action, float(sequence), following, False, sequence % 20 == 0
        )
        return self._codec.to_msg(
            ReplayEntry(
                0, self.run, sequence // 20, sequence % 20, sequence, 0, transition, self.oldest
            )
        )

    def send(self, first: int, last: int) -> None:
        for sequence in range(first, last + 1):
            self.publisher.publish(self.message(sequence))


@pytest.fixture
def progress(probe) -> list:
    """What the learner says of itself, from now on."""
    heard = []
    probe.node.create_subscription(
        UInt64MultiArray, "learner/progress", lambda m: heard.append(progress_from_msg(m)), RELIABLE
    )
    return heard


def _values(reports) -> dict[str, str]:
    statuses = [s for r in reports for s in r.status if s.name == "learner: training"]
    return {entry.key: entry.value for entry in statuses[-1].values} if statuses else {}


def test_policies_of_rising_version_follow_from_transitions(
    processes, probe, progress, task, fast_learner
):
    actor, policies = Actor(probe, task), []
    probe.node.create_subscription(
        UInt8MultiArray, "policy", lambda m: policies.append(policy_from_msg(m)), LATCHED
    )
    processes.node("learner", realtime_factor=0.0, **fast_learner)
    actor.send(1, 200)  # before anyone listens: the replay topic keeps them
    probe.wait(lambda: progress and progress[-1].acknowledged == {7: 200})
    probe.wait(lambda: progress[-1].updates == 50)
    assert progress[-1].transitions == 200
    # after the warm-up of 100: episodes of 20, and at 150
    probe.wait(lambda: len(policies) == progress[-1].policy_version == 6)
    infos = [Policy(data, task.spec).info for data in policies]
    assert [info.version for info in infos] == [1, 2, 3, 4, 5, 6]
    assert [info.updates for info in infos] == [10, 20, 25, 30, 40, 50]
    assert [info.lineage for info in infos[1:]] == [info.weights_sha256 for info in infos[:-1]]


def test_wrong_transitions_are_dropped_repeated_ones_ignored_and_none_is_taken_before_its_turn(
    processes, probe, task, fast_learner
):
    actor, reports = Actor(probe, task), probe.listen(DiagnosticArray, "/diagnostics", 10)
    processes.node("learner", **fast_learner)
    probe.wait(actor.publisher.get_subscription_count)
    actor.send(1, 10)
    actor.send(5, 10)
    actor.send(14, 15)  # 11 to 13 are missing, and can still be sent
    short = actor.message(16)
    short.data = short.data[:-1]
    actor.publisher.publish(short)
    actor.publisher.publish(Float64MultiArray(data=[1.0, 2.0]))
    expected = {
        "transitions": "10",
        "fault/transition_repeated": "6",
        "fault/transition_early": "2",
        "fault/transition_dropped": "2",
    }
    probe.wait(lambda: expected.items() <= _values(reports).items(), what=str(expected))
    actor.send(11, 15)
    probe.wait(lambda: _values(reports)["transitions"] == "15")
    actor.oldest = 20  # those before are gone for ever
    actor.send(20, 21)
    expected = {"transitions": "17", "fault/transitions_lost": "1", "fault/transition_early": "2"}
    probe.wait(lambda: expected.items() <= _values(reports).items(), what=str(expected))


@pytest.mark.long
def test_several_actors_feed_one_learner_each_with_numbers_of_its_own(
    processes, probe, progress, task, fast_learner
):
    first, second = Actor(probe, task, run=7), Actor(probe, task, run=2**50)
    processes.node("learner", **fast_learner)
    first.send(1, 30)
    second.send(1, 20)
    first.send(31, 40)
    probe.wait(lambda: progress and progress[-1].acknowledged == {7: 40, 2**50: 20})
    assert progress[-1].transitions == 60


@pytest.mark.long
def test_what_was_acknowledged_is_there_after_a_kill_before_the_first_checkpoint(
    processes, probe, progress, task, fast_learner, tmp_path
):
    actor = Actor(probe, task)
    learner = processes.node(
        "learner", run_dir=tmp_path, checkpoint_period_s=1000.0, **fast_learner
    )
    actor.send(1, 150)
    probe.wait(lambda: progress and progress[-1].acknowledged == {7: 150})
    learner.kill()
    learner.wait()
    assert not checkpoints(tmp_path / "checkpoints")
    probe.node.destroy_publisher(actor.publisher)  # and with it what the topic remembers
    blind = processes.node("learner", run_dir=tmp_path, **fast_learner)
    assert blind.wait(240) == 2
    blind.until_said("give resume:=true to continue it")
    resumed = processes.node("learner", run_dir=tmp_path, resume=True, **fast_learner)
    probe.wait(lambda: progress[-1].updates == 25 and progress[-1].acknowledged == {7: 150})
    assert processes.stop(resumed) == 0
    state, _ = load_checkpoint(tmp_path / "checkpoints")
    assert state["replay"]["reward"].tolist() == list(range(1, 151))
    # all of it is in the checkpoint now
    assert not Ledger(tmp_path / "transitions.sqlite").after(0)


@pytest.mark.long
def test_a_folder_in_which_nothing_was_learned_yet_can_be_begun_in(
    processes, probe, task, fast_learner, tmp_path
):
    misspelled = processes.node("learner", run_dir=tmp_path, resume=True, **fast_learner)
    assert misspelled.wait(240) == 2
    misspelled.until_said("it has neither checkpoints nor transitions of a training")
    # a refused start writes nothing
    assert not {"session", "transitions.sqlite"} & {path.name for path in tmp_path.iterdir()}
    actor, reports = Actor(probe, task), probe.listen(DiagnosticArray, "/diagnostics", 10)
    processes.node("learner", run_dir=tmp_path, **fast_learner)
    actor.send(1, 20)
    probe.wait(lambda: _values(reports).get("transitions") == "20")


def test_a_learner_alone_refuses_a_buffer_larger_than_memory(processes, fast_learner, tmp_path):
    folder = tmp_path / "mine"
    learner = processes.node(
        "learner", run_dir=folder, **{**fast_learner, "trainer__replay_capacity": 3_000_000_000}
    )
    assert learner.wait(240) == 2
    learner.until_said("trainer.replay_capacity 3000000000 needs 1.07 TiB of memory when full")
    assert not folder.exists()


@pytest.mark.long
def test_a_damaged_ledger_is_set_aside_and_said_and_the_checkpoint_used(
    processes, probe, task, fast_learner, tmp_path
):
    actor, reports = Actor(probe, task), probe.listen(DiagnosticArray, "/diagnostics", 10)
    first = processes.node("learner", run_dir=tmp_path, **fast_learner)
    actor.send(1, 120)
    probe.wait(lambda: _values(reports).get("transitions") == "120")
    assert processes.stop(first) == 0
    (tmp_path / "transitions.sqlite").write_bytes(
        b"no database, but long enough to be taken for one" * 100
    )
    second = processes.node("learner", run_dir=tmp_path, resume=True, **fast_learner)
    reports.clear()
    probe.wait(lambda: _values(reports).get("fault/ledger_damaged") == "1")
    probe.wait(lambda: _values(reports).get("transitions") == "120")
    assert (tmp_path / "transitions.sqlite.damaged").is_file()
    second.until_said("transitions.sqlite.damaged")


def test_two_learners_cannot_have_the_same_run(processes, probe, task, fast_learner, tmp_path):
    actor, reports = Actor(probe, task), probe.listen(DiagnosticArray, "/diagnostics", 10)
    processes.node("learner", run_dir=tmp_path, **fast_learner)
    actor.send(1, 10)
    probe.wait(lambda: _values(reports).get("transitions") == "10")
    second = processes.node("learner", run_dir=tmp_path, resume=True, **fast_learner)
    assert second.wait(240) == 2
    second.until_said("locked")


@pytest.mark.long
def test_a_stopped_learner_goes_on_from_its_checkpoint_without_a_gap(
    processes, probe, progress, task, fast_learner, tmp_path
):
    actor, reports = Actor(probe, task), probe.listen(DiagnosticArray, "/diagnostics", 10)
    first = processes.node("learner", run_dir=tmp_path, **fast_learner)
    actor.send(1, 150)
    probe.wait(lambda: _values(reports).get("updates") == "25")
    assert processes.stop(first) == 0
    state, manifest = load_checkpoint(tmp_path / "checkpoints")
    assert (manifest["added"], manifest["updates"], manifest["extra"]) == (
        150,
        25,
        {"sequences": {"7": 150}},
    )
    assert state["replay"]["reward"].tolist() == list(range(1, 151))

    blind = processes.node("learner", run_dir=tmp_path, **fast_learner)
    assert blind.wait(240) == 2
    blind.until_said("give resume:=true to continue it")

    actor.send(151, 200)
    reports.clear()
    processes.node("learner", run_dir=tmp_path, resume=True, **fast_learner)
    probe.wait(lambda: progress and progress[-1].acknowledged == {7: 200})
    expected = {"transitions": "200", "updates": "50", "fault/transition_repeated": "150"}
    probe.wait(lambda: expected.items() <= _values(reports).items(), what=str(expected))
    assert not {"fault/transition_early", "fault/transitions_lost"} & set(_values(reports))


def test_a_killed_learner_has_the_checkpoint_before(processes, probe, task, fast_learner, tmp_path):
    actor, reports = Actor(probe, task), probe.listen(DiagnosticArray, "/diagnostics", 10)
    learner = processes.node("learner", run_dir=tmp_path, checkpoint_period_s=1.0, **fast_learner)
    actor.send(1, 150)
    probe.wait(lambda: checkpoints(tmp_path / "checkpoints"))
    learner.kill()
    learner.wait()
    added = load_checkpoint(tmp_path / "checkpoints")[1]["added"]
    reports.clear()
    processes.node("learner", run_dir=tmp_path, resume=True, **fast_learner)
    # what came after the checkpoint is still on the topic
    probe.wait(lambda: _values(reports).get("transitions") == "150")
    assert 0 < added <= 150
