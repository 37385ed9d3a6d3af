"""What was accepted is kept once, whoever dies: real processes killed under load."""

import json
import os
import shutil
import sys

import pytest
from std_msgs.msg import Float64MultiArray, UInt64MultiArray

from sql_ros.learning.checkpoint import load_checkpoint
from sql_ros.nodes.messages import TransitionCodec, progress_from_msg
from sql_ros.nodes.qos import RELIABLE, REPLAY

pytestmark = [pytest.mark.stack, pytest.mark.long]


def test_a_learner_killed_again_and_again_has_every_transition_once_in_order(
    processes, probe, task, fast_learner, tmp_path
):
    codec, sent, progress = TransitionCodec(task.spec), {}, []

    def hear(message) -> None:
        entry = codec.from_msg(message)
        sent.setdefault(entry.sequence, entry.transition.reward)

    probe.node.create_subscription(Float64MultiArray, "replay", hear, REPLAY)
    probe.node.create_subscription(
        UInt64MultiArray,
        "learner/progress",
        lambda m: progress.append(progress_from_msg(m)),
        RELIABLE,
    )

    def learner(*, resume: bool):
        return processes.node(
            "learner", run_dir=tmp_path, resume=resume, checkpoint_period_s=1.5, **fast_learner
        )

    running = learner(resume=False)
    processes.node("sim_bridge", realtime_factor=5.0)
    actor = processes.node("actor", {"commands": "sim_bridge/commands"}, realtime_factor=5.0)
    seen = 0

    def goes_on() -> bool:
        return bool(progress) and progress[-1].transitions > seen + 150

    for kills in range(3):
        probe.wait(goes_on, what=f"progress after {kills} kills")
        running.kill()
        running.wait()
        probe.spin_for(0.5)  # what the dead learner said last
        seen, acknowledged = progress[-1].transitions, progress[-1].acknowledged
        progress.clear()
        running = learner(resume=True)
    probe.wait(goes_on, what="progress after the last kill")
    assert all(progress[-1].acknowledged[run] >= sequence for run, sequence in acknowledged.items())
    assert processes.stop(actor) == 0  # which ends when the learner has all it made
    probe.wait(lambda: max(progress[-1].acknowledged.values()) == max(sent), what="the rest")
    assert processes.stop(running) == 0
    state, manifest = load_checkpoint(tmp_path / "checkpoints")
    probe.wait(
        lambda: manifest["added"] <= max(sent),
        what="the last that was sent, which the probe may not have taken yet",
    )
    assert manifest["added"] == max(sent) == len(sent)
    assert state["replay"]["reward"].tolist() == pytest.approx(
        [sent[number] for number in sorted(sent)], rel=1e-6
    )


@pytest.fixture
def chaos(processes, tmp_path):
    """`chaos("--kills", "4")` runs the command to its end and returns its figures."""

    def run(*words: str) -> dict[str, float]:
        figures = tmp_path / "chaos.json"
        command = processes.start(
            [sys.executable, "-m", "sql_ros.cli.main", "chaos", *words, "--json", str(figures)],
            cwd=tmp_path,
        )
        assert command.wait(300) == 0, command.log.read_text()
        values = json.loads(figures.read_text())["figures"]
        assert (
            values["lost"],
            values["doubled"],
            values["unsafe_commands"],
            values["not_held"],
        ) == (0, 0, 0, 0)
        return values

    return run


@pytest.mark.xdist_group("own_domain")
def test_chaos_loses_and_doubles_nothing_and_the_stack_gets_up_by_itself(chaos):
    values = chaos("--kills", "4", "--seed", "2")
    assert values["kills"] == 4
    assert values["transitions"] > 80
    assert values["held"] > 20


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip"), reason="network namespaces take root and iproute2"
)
@pytest.mark.xdist_group("own_domain")
def test_two_hosts_that_are_cut_off_from_each_other_go_on_when_they_are_joined(chaos):
    values = chaos("--kills", "0", "--cuts", "2", "--seed", "1")
    assert values["cuts"] == 2
    assert values["transitions"] > 80
