"""The actor over DDS: exploring, holding, taking over policies and refusing bad ones.

The test plays arm and learner.
"""

import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, UInt8MultiArray, UInt64MultiArray

from sql_ros.nodes.messages import (
    LOCKSTEP_TRANSITIONS,
    Progress,
    TransitionCodec,
    policy_to_msg,
    progress_to_msg,
    state_to_msg,
)
from sql_ros.nodes.qos import LATCHED, RELIABLE, REPLAY

pytestmark = pytest.mark.stack


def _newest(reports) -> dict[str, str]:
    statuses = [s for r in reports for s in r.status if s.name == "actor: control"]
    return {entry.key: entry.value for entry in statuses[-1].values} if statuses else {}


@pytest.fixture
def arm(probe, task):
    """A still arm at its neutral pose; `tell(ns)` publishes its state with a stamp."""
    publisher = probe.node.create_publisher(JointState, "joint_states", RELIABLE)
    neutral, zero = np.array(task.robot.neutral_position), np.zeros(7)

    def tell(stamp_ns: int, position=neutral):
        publisher.publish(state_to_msg(stamp_ns, task.robot.joints, position, zero, zero))

    tell.publisher = publisher
    return tell


def test_each_new_state_gets_one_answer_and_a_repeated_state_the_same_answer(
    processes, probe, arm, task
):
    commands = probe.listen(Float64MultiArray, "commands", RELIABLE)
    probe.play_learner()
    processes.node("actor", realtime_factor=0.0, learner_patience_s=0.0)
    probe.until_active("actor")
    probe.wait(
        lambda: (
            arm.publisher.get_subscription_count()
            and len(probe.node.get_publishers_info_by_topic("commands"))
        )
    )

    def answered(stamp: int, offset: float = 0.0):
        arm(stamp, np.array(task.robot.neutral_position) + offset)
        probe.wait(lambda: commands and commands[-1].layout.dim[1].label == f"answers {stamp}")
        return list(commands[-1].data)

    first = answered(1_000_000)
    assert answered(1_000_000) == first
    assert answered(51_000_000, offset=0.05) != first


def test_policies_take_over_in_turn_and_bad_ones_are_refused_and_counted(
    processes, probe, arm, untrained
):
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    policies = probe.node.create_publisher(UInt8MultiArray, "policy", LATCHED)
    processes.node("actor")
    probe.wait(lambda: policies.get_subscription_count())
    policies.publish(policy_to_msg(untrained(1)))
    probe.wait(lambda: _newest(reports).get("policy_version") == "1")
    altered = policy_to_msg(untrained(2))
    altered.data[1000] ^= 1
    policies.publish(altered)
    probe.wait(lambda: _newest(reports).get("fault/policy_refused") == "1")
    policies.publish(policy_to_msg(b"not a policy"))
    probe.wait(lambda: _newest(reports).get("fault/policy_refused") == "2")
    assert _newest(reports)["policy_version"] == "1"
    policies.publish(policy_to_msg(untrained(3)))
    probe.wait(lambda: _newest(reports).get("policy_version") == "3")


@pytest.mark.long
def test_a_late_actor_gets_the_newest_policy(processes, probe, untrained):
    policies = probe.node.create_publisher(UInt8MultiArray, "policy", LATCHED)
    for version in (1, 2):
        policies.publish(policy_to_msg(untrained(version)))
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    processes.node("actor")
    probe.wait(lambda: _newest(reports).get("policy_version") == "2")


@pytest.mark.long
@pytest.mark.parametrize(
    ("parameters", "version"),
    [
        ({"policy": "{file}"}, "1"),
        ({}, "77"),
    ],
    ids=["of the file", "without a file"],
)
def test_play_with_a_file_takes_no_policy_from_the_topic(
    processes, probe, untrained, tmp_path, parameters, version
):
    """A latched policy of somebody else waits on the topic."""
    file = tmp_path / "policy.onnx"
    file.write_bytes(untrained(1))
    policies = probe.node.create_publisher(UInt8MultiArray, "policy", LATCHED)
    policies.publish(policy_to_msg(untrained(77)))
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    given = {name: str(file) if value == "{file}" else value for name, value in parameters.items()}
    processes.node("actor", mode="play", **given)
    probe.until_active("actor")
    listeners = policies.get_subscription_count
    probe.wait(lambda: _newest(reports).get("policy_version") == version)
    probe.spin_for(1.0)
    assert _newest(reports)["policy_version"] == version
    assert listeners() == int(version == "77")


@pytest.mark.long
def test_without_leave_to_explore_it_holds_until_a_policy_comes(processes, probe, arm, untrained):
    commands = probe.listen(Float64MultiArray, "commands", RELIABLE)
    policies = probe.node.create_publisher(UInt8MultiArray, "policy", LATCHED)
    probe.play_learner()
    processes.node("actor", explores=False, max_state_age_s=10.0)
    probe.wait(lambda: arm.publisher.get_subscription_count())

    def said(wanted):
        arm(probe.node.get_clock().now().nanoseconds)
        return wanted()

    probe.wait(lambda: said(lambda: len(commands) > 20))
    assert all(np.all(np.array(command.data) == 0) for command in commands)
    policies.publish(policy_to_msg(untrained(1)))
    probe.wait(lambda: said(lambda: np.any(np.array(commands[-1].data) != 0)))


def test_a_state_that_grows_old_is_a_hold_and_said(processes, probe, arm):
    commands = probe.listen(Float64MultiArray, "commands", RELIABLE)
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    probe.play_learner()
    processes.node("actor", max_state_age_s=0.2)
    probe.wait(lambda: arm.publisher.get_subscription_count())
    away = np.full(7, 0.5)

    def moves() -> bool:
        arm(probe.node.get_clock().now().nanoseconds, away)
        return bool(commands) and np.any(np.array(commands[-1].data) != 0)

    probe.wait(moves)  # on its way to the start pose
    probe.wait(lambda: np.all(np.array(commands[-1].data) == 0), what="hold once states stop")
    probe.wait(lambda: int(_newest(reports).get("holds", "0")) > 20)
    assert (
        1 <= int(_newest(reports)["hold/state_too_old"]) <= 3
    )  # counted when it begins (again, should this machine stall), not at every step


@pytest.mark.long
def test_states_that_lack_a_joint_lead_to_a_hold(processes, probe, arm, task):
    """A gripper's publisher on the same topic, say: the loop must not fall silent with the last
    velocity in force.
    """
    commands = probe.listen(Float64MultiArray, "commands", RELIABLE)
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    probe.play_learner()
    processes.node("actor", max_state_age_s=0.2)
    probe.wait(lambda: arm.publisher.get_subscription_count())

    def moves() -> bool:
        arm(probe.node.get_clock().now().nanoseconds, np.full(7, 0.5))
        return bool(commands) and np.any(np.array(commands[-1].data) != 0)

    probe.wait(moves)

    def holds() -> bool:
        arm.publisher.publish(
            JointState(name=["finger"], position=[0.0], velocity=[0.0], effort=[0.0])
        )
        return np.all(np.array(commands[-1].data) == 0)

    probe.wait(holds)
    sent = len(commands)
    probe.wait(lambda: holds() and len(commands) > sent + 5)
    probe.wait(lambda: int(_newest(reports).get("fault/state_foreign", "0")) > 0)


def test_in_lockstep_it_waits_for_the_learner_and_a_refused_policy_does_not_stop_the_arm(
    processes, probe, task
):
    entries, progress = (
        [],
        probe.node.create_publisher(UInt64MultiArray, "learner/progress", RELIABLE),
    )
    codec = TransitionCodec(task.spec)
    probe.node.create_subscription(
        Float64MultiArray, "replay", lambda m: entries.append(codec.from_msg(m)), REPLAY
    )
    policies = probe.node.create_publisher(UInt8MultiArray, "policy", LATCHED)
    learner = probe.play_learner(acknowledges=False)
    processes.node("sim_bridge", realtime_factor=0.0)
    processes.node("actor", {"commands": "sim_bridge/commands"}, realtime_factor=0.0)
    probe.wait(lambda: entries)
    learner.stop()
    probe.wait(
        lambda: (
            len(entries) == LOCKSTEP_TRANSITIONS
            and policies.get_subscription_count()
            and progress.get_subscription_count()
        )
    )
    probe.spin_for(0.5)
    # in the middle of an episode it waits for the learner, whom this test plays
    assert len(entries) == LOCKSTEP_TRANSITIONS
    progress.publish(
        progress_to_msg(
            Progress(LOCKSTEP_TRANSITIONS, 0, 0, {entries[-1].run: LOCKSTEP_TRANSITIONS})
        )
    )
    probe.wait(lambda: len(entries) == 100)
    assert entries[-1].transition.truncated
    probe.spin_for(0.5)
    assert len(entries) == 100  # and at its end
    policies.publish(policy_to_msg(b"nonsense"))
    progress.publish(progress_to_msg(Progress(100, 1, 1, {entries[-1].run: 100})))
    probe.wait(lambda: len(entries) == 100 + LOCKSTEP_TRANSITIONS, timeout=120)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_last_command_before_the_end_is_a_hold(processes, probe, arm, number):
    commands = probe.listen(Float64MultiArray, "commands", RELIABLE)
    probe.play_learner()
    actor = processes.node("actor", max_state_age_s=10.0)
    probe.wait(lambda: arm.publisher.get_subscription_count())

    def moves() -> bool:
        arm(probe.node.get_clock().now().nanoseconds, np.full(7, 0.5))
        return bool(commands) and np.any(np.array(commands[-1].data) != 0)

    probe.wait(moves)
    assert processes.stop(actor, number) == 0
    probe.spin_for(0.5)
    assert np.all(np.array(commands[-1].data) == 0)


@pytest.mark.long
def test_transitions_are_numbered_without_a_gap(processes, probe, task):
    entries = []
    codec = TransitionCodec(task.spec)
    probe.node.create_subscription(
        Float64MultiArray, "replay", lambda m: entries.append(codec.from_msg(m)), REPLAY
    )
    probe.play_learner()
    processes.node("sim_bridge", realtime_factor=0.0)
    processes.node(
        "actor", {"commands": "sim_bridge/commands"}, realtime_factor=0.0, learner_patience_s=0.0
    )
    probe.wait(lambda: len(entries) > 250)
    assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
    assert [entry.episode for entry in entries] == [index // 100 for index in range(len(entries))]
    assert [entry.step for entry in entries] == [index % 100 for index in range(len(entries))]
    assert [entry.transition.truncated for entry in entries] == [
        index % 100 == 99 for index in range(len(entries))
    ]
    assert len({entry.run for entry in entries}) == 1
    assert {entry.policy_version for entry in entries} == {0}


@pytest.mark.long
def test_a_transition_that_no_learner_would_take_gets_no_number(processes, probe, arm, task):
    codec, entries = TransitionCodec(task.spec), []
    probe.node.create_subscription(
        Float64MultiArray, "replay", lambda m: entries.append(codec.from_msg(m)), REPLAY
    )
    reports, commands = (
        probe.listen(DiagnosticArray, "/diagnostics", 10),
        probe.listen(Float64MultiArray, "commands", RELIABLE),
    )
    probe.play_learner()
    actor = processes.node("actor", realtime_factor=0.0, learner_patience_s=0.0)
    probe.until_active("actor")
    probe.wait(
        lambda: (
            arm.publisher.get_subscription_count()
            and len(probe.node.get_publishers_info_by_topic("commands"))
        )
    )
    position, stamps = np.array(task.robot.neutral_position), iter(range(1, 10**4))

    def step(speed: float = 0.0) -> None:
        stamp = next(stamps) * 50_000_000
        arm.publisher.publish(
            state_to_msg(stamp, task.robot.joints, position, np.full(7, speed), np.zeros(7))
        )
        probe.wait(lambda: commands and commands[-1].layout.dim[1].label == f"answers {stamp}")
        position[:] += 0.05 * np.array(commands[-1].data)

    while len(entries) < 5:
        step()
    step(1e9)
    probe.wait(
        lambda: _newest(reports).get("fault/transition_dropped") == "1",
        what="the transition to this state",
    )
    assert _newest(reports)["transitions"] == str(len(entries)) == str(entries[-1].sequence)
    actor.kill()  # it would brake from that speed for long


@pytest.mark.long
def test_an_actor_that_comes_to_a_run_with_transitions_draws_none_of_its_episodes_again(
    processes, probe, arm, task
):
    codec, entries = TransitionCodec(task.spec), []
    probe.node.create_subscription(
        Float64MultiArray, "replay", lambda m: entries.append(codec.from_msg(m)), REPLAY
    )
    progress = probe.node.create_publisher(UInt64MultiArray, "learner/progress", RELIABLE)
    commands, actions = probe.listen(Float64MultiArray, "commands", RELIABLE), []
    for transitions in (0, 0, 500):
        # an actor that ends sends again what nobody acknowledged
        runs = {entry.run for entry in entries}
        actor = processes.node("actor", realtime_factor=0.0, learner_patience_s=0.0, seed=3)
        probe.until_active("actor")
        probe.wait(
            lambda: arm.publisher.get_subscription_count() and progress.get_subscription_count()
        )
        probe.wait(lambda: len(probe.node.get_publishers_info_by_topic("commands")))
        progress.publish(progress_to_msg(Progress(transitions, 0, 0, {})))
        position, stamps = np.array(task.robot.neutral_position), iter(range(1, 10**4))
        while not (
            mine := [
                entry.transition.action.tolist()
                for entry in entries
                if entry.run not in runs and entry.sequence == 3
            ]
        ):
            stamp = next(stamps) * 50_000_000
            arm(stamp, position)
            probe.wait(
                lambda wanted=f"answers {stamp}": (
                    commands and commands[-1].layout.dim[1].label == wanted
                )
            )
            position += 0.05 * np.array(commands[-1].data)
        actions.append(mine[0])
        processes.stop(actor)
        probe.wait(lambda: not probe.node.get_publishers_info_by_topic("commands"))
    assert actions[0] == actions[1]
    assert actions[0] != actions[2]


@pytest.fixture
def learner(probe, task):
    """Plays a learner: hears transitions, and `acknowledge(sequence)` says until where it
    has them.
    """
    publisher = probe.node.create_publisher(UInt64MultiArray, "learner/progress", RELIABLE)
    codec, entries = TransitionCodec(task.spec), []
    probe.node.create_subscription(
        Float64MultiArray, "replay", lambda m: entries.append(codec.from_msg(m)), REPLAY
    )

    def acknowledge(sequence: int) -> None:
        publisher.publish(
            progress_to_msg(Progress(sequence, 0, 0, {entries[0].run: sequence, 1: 10**6}))
        )

    def accept() -> bool:
        publisher.publish(progress_to_msg(Progress(0, 0, 0, {})))
        return bool(entries)

    def accept_run() -> None:
        """Report until the first transition came; then fall silent."""
        probe.wait(accept)

    acknowledge.entries, acknowledge.accept_run = entries, accept_run
    return acknowledge


@pytest.mark.long
def test_what_the_learner_does_not_get_is_sent_again_and_what_it_has_is_not(
    processes, probe, learner
):
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    processes.node("sim_bridge", realtime_factor=1.0)
    processes.node("actor", {"commands": "sim_bridge/commands"}, actor_id=3)
    learner.accept_run()
    probe.wait(lambda: len(learner.entries) >= 60)
    assert [entry.sequence for entry in learner.entries[:60]] == list(range(1, 61))
    assert {entry.actor for entry in learner.entries} == {3}

    assert all(entry.oldest <= entry.sequence for entry in learner.entries)

    def again() -> list[int]:
        learner(40)
        sequences = [entry.sequence for entry in learner.entries]
        return sorted({s for s in sequences if sequences.count(s) > 1})

    probe.wait(lambda: len(again()) >= 15, what="transitions after the 40th, again")
    assert again()[0] == 41
    assert learner.entries[-1].oldest == 41
    probe.wait(lambda: "fault/transitions_sent_again" in _newest(reports))

    def newest() -> int:
        return max(entry.sequence for entry in learner.entries)

    probe.wait(lambda: (learner(newest()), int(_newest(reports)["unacknowledged"]))[1] < 20)


@pytest.mark.long
def test_where_the_disk_is_full_it_goes_on_and_keeps_what_it_made(processes, probe, learner):
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    actor = processes.node(
        "actor", {"commands": "sim_bridge/commands"}, realtime_factor=0.0, learner_patience_s=0.0
    )
    probe.until_active("actor")
    # of any file, hence also of the ledger
    resource.prlimit(actor.pid, resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
    processes.node("sim_bridge", realtime_factor=0.0)
    learner.accept_run()
    probe.wait(
        lambda: "fault/ledger_failed" in _newest(reports) or actor.poll() is not None, timeout=480
    )
    assert actor.poll() is None, actor.log.read_text()
    made = int(_newest(reports)["transitions"])
    probe.wait(lambda: int(_newest(reports)["transitions"]) > made, what="more transitions")
    resource.prlimit(
        actor.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )
    learner.entries[1:] = []

    def again() -> set[int]:
        learner(40)
        return {entry.sequence for entry in learner.entries}

    probe.wait(lambda: set(range(41, 1041)) <= again(), what="the first after the 40th, again")
    assert processes.stop(actor) == 0


def test_an_actor_that_is_to_end_sends_a_learner_what_it_lacks_and_waits_for_its_answer(
    processes, probe, learner
):
    processes.node("sim_bridge")
    actor = processes.node("actor", {"commands": "sim_bridge/commands"})
    learner.accept_run()
    probe.wait(lambda: len(learner.entries) >= 60)
    for _ in range(10):  # a learner is there
        learner(40)
        probe.spin_for(0.05)
    actor.send_signal(signal.SIGTERM)

    def came(times: int) -> set[int]:
        learner(40)
        sequences = [entry.sequence for entry in learner.entries]
        return {s for s in sequences if s > 40 and sequences.count(s) >= times}

    probe.wait(
        lambda: len(came(2)) >= 20 and came(2) == came(1), what="everything after the 40th, again"
    )
    assert actor.poll() is None
    probe.wait(lambda: (learner(max(came(1))), actor.poll())[1] is not None)
    assert actor.returncode == 0, actor.log.read_text()
    assert "no learner has the last" not in actor.log.read_text()


@pytest.mark.long
def test_an_actor_without_a_learner_says_so_and_goes_on(processes, probe, learner):
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    processes.node("sim_bridge", realtime_factor=5.0)
    processes.node("actor", {"commands": "sim_bridge/commands"}, realtime_factor=5.0)
    learner.accept_run()
    probe.wait(lambda: "fault/learner_silent" in _newest(reports), what="learner_silent")
    before = learner.entries[-1].sequence
    probe.wait(lambda: learner.entries[-1].sequence > before, what="another transition")


@pytest.mark.long
def test_diagnostics_and_services_run_one_priority_behind_the_control_loop(processes, probe):
    actor = processes.node("actor", realtime_factor=1.0, realtime_priority=10)
    probe.until_active("actor")
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    probe.wait(lambda: "realtime/SCHED_FIFO" in _newest(reports))
    granted = _newest(reports)["realtime/SCHED_FIFO"] == "granted"
    folder = Path(f"/proc/{actor.pid}/task")
    receivers = [
        int(thread.name)
        for thread in folder.iterdir()
        if (thread / "comm").read_text().startswith("dds.udp")
    ]
    assert receivers
    assert {os.sched_getparam(thread).sched_priority for thread in receivers} == {
        10 if granted else 0
    }
    # the process's first thread is rclpy's executor
    assert os.sched_getparam(actor.pid).sched_priority == (9 if granted else 0)


@pytest.mark.long
def test_before_a_state_is_due_the_step_is_rehearsed(processes, probe, arm):
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    probe.play_learner()
    probe.listen(Float64MultiArray, "commands", RELIABLE)  # unheard, it would hold
    processes.node("actor")
    probe.until_active("actor")
    stamps = iter(range(1, 10**6))

    def count(what: str) -> int:
        arm(next(stamps) * 10_000_000)
        return int(_newest(reports).get(what, 0))

    probe.wait(lambda: count("control_steps") >= 20)
    probe.wait(lambda: count("rehearsed_parts") > 20)  # on a busy machine not before every step
