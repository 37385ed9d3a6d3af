"""The counts of `sql-ros chaos`, and its strikes on processes that stand for a stack.

The command with a real stack is in tests/nodes/test_reliability.py.
"""

import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sql_ros.checks.processes import start_process
from sql_ros.checks.stress import chaos
from sql_ros.checks.stress.chaos import VICTIMS, ChaosCounts
from sql_ros.checks.stress.stack_monitor import fingerprint
from sql_ros.common.errors import ConfigError, SqlRosError
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.learning.trainer import Trainer
from sql_ros.policy.transition import Transition

# starts three processes that only sleep, and again what ends with an error
SUPERVISOR = """
import subprocess, sys, time
words = [sys.executable, "-c", "import time; time.sleep(60)"]
start = lambda name: subprocess.Popen([*words, f"{name}_node"])
children = {name: start(name) for name in sys.argv[1:]}
while True:
    for name, child in children.items():
        if child.poll() is not None:
            children[name] = start(name)
    time.sleep(0.01)
"""


class _Monitor:
    """A listener to a stack that trains at once; notes whether the actor is stopped in the hold."""

    def __init__(self, supervisor):
        self._supervisor = supervisor
        self.expected = 0
        self.has_stopped = False

    def listen(self, seconds):
        pass

    def await_training(self):
        pass

    def expect_hold(self):
        self.expected += 1

    def record_hold(self):
        self.has_stopped = _becomes(self._supervisor, stopped=True)


def _becomes(supervisor, *, stopped: bool) -> bool:
    """Return whether the actor is stopped or not, as expected, once the signal is delivered."""
    pid = chaos._await_node(supervisor, "actor")
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        if (_state(pid) == "T") == stopped:
            return True
        time.sleep(0.005)
    return False


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def supervisor():
    process = start_process([sys.executable, "-c", SUPERVISOR, *VICTIMS], subprocess.DEVNULL)
    yield process
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        subprocess.run(["kill", "-9", child], check=False)
    process.kill()
    process.wait()


def test_each_victim_has_a_turn_in_each_round_and_is_awaited_again(supervisor, capsys):
    monitor = _Monitor(supervisor)
    strikes = chaos._Strikes(supervisor, 6, np.random.default_rng(1))
    before = {name: chaos._await_node(supervisor, name) for name in VICTIMS}
    for _ in VICTIMS:
        strikes.strike(monitor)
    after = {name: chaos._await_node(supervisor, name) for name in VICTIMS}
    counts = strikes.counts
    assert counts.kills + counts.stops == len(counts.recoveries_s) == 3
    assert sum(before[name] != after[name] for name in VICTIMS) == counts.kills
    assert monitor.expected == 1  # the strike on the actor
    assert capsys.readouterr().out.count("training again after") == 3


def test_the_successor_of_a_killed_actor_is_stopped_until_the_hold_was_seen(supervisor):
    monitor = _Monitor(supervisor)
    strikes = chaos._Strikes(supervisor, 1, np.random.default_rng(0))
    strikes._kill("actor", chaos._await_node(supervisor, "actor"), monitor)
    assert monitor.has_stopped
    assert _becomes(supervisor, stopped=False)


def test_a_process_that_the_supervisor_would_give_up_is_not_killed_yet(supervisor, monkeypatch):
    monkeypatch.setattr(chaos, "MOST_RESTARTS", 1)
    strikes = chaos._Strikes(supervisor, 9, np.random.default_rng(0))
    listened = []
    monitor = SimpleNamespace(listen=listened.append)
    strikes._kill("learner", chaos._await_node(supervisor, "learner"), monitor)
    monkeypatch.setattr(chaos, "WITHIN_S", 0.1 - chaos.IN_FLIGHT_S)
    strikes._await_permitted("sim_bridge", monitor)
    assert not [seconds for seconds in listened if seconds == chaos.IN_FLIGHT_S]
    strikes._await_permitted("learner", monitor)
    assert [seconds for seconds in listened if seconds == chaos.IN_FLIGHT_S]


def test_a_stack_that_has_ended_is_not_awaited():
    ended = start_process([sys.executable, "-c", "import sys; sys.exit(3)"], subprocess.DEVNULL)
    ended.wait()
    with pytest.raises(SqlRosError, match=r"does not start learner again \(exit code 3\)"):
        chaos._await_node(ended, "learner")


def test_nothing_to_do_is_a_mistake():
    with pytest.raises(ConfigError, match="--kills 0 --cuts 0"):
        chaos.run_chaos(0, 0, 0, None)


def test_counts_of_two_parts_are_added_and_recoveries_summarised():
    total = ChaosCounts()
    assert total.figures()["recovery_max_s"] == 0.0
    total.add(ChaosCounts(kills=2, held=5, recoveries_s=[1.0, 2.0]))
    total.add(ChaosCounts(cuts=1, recoveries_s=[6.0]))
    figures = total.figures()
    assert (figures["kills"], figures["cuts"], figures["held"]) == (2, 1, 5)
    assert (figures["recovery_p50_s"], figures["recovery_max_s"]) == (2.0, 6.0)
    assert total.is_clean()


@pytest.mark.parametrize("name", ["lost", "doubled", "unsafe_commands", "not_held"])
def test_a_run_is_not_clean_if_anything_went_wrong(name):
    assert name in {field.name for field in fields(ChaosCounts)}
    assert not ChaosCounts(**{name: 1}).is_clean()


def test_acknowledged_transitions_must_be_in_the_buffer_once(small_spec, tmp_path):
    trainer = Trainer(
        small_spec, TrainerConfig(replay_capacity=100), AlgorithmConfig(hidden_sizes=(8,)), 0
    )
    made = {}
    for number in range(1, 7):
        observation = np.full(3, number, np.float32)
        action = np.zeros(2, np.float32)
        made[7, number] = fingerprint(observation, action, 0.5)
        transition = Transition(observation, action, 0.5, observation, False, False)
        if number not in (3, 6):  # 3 is lost, 6 is still on its way
            trainer.add(transition)
        if number == 2:
            trainer.add(transition)
    trainer.save(tmp_path / "checkpoints", {})
    counts = ChaosCounts()
    monitor = SimpleNamespace(sent=made, acknowledged={7: 5})
    chaos._count_lost_and_doubled(counts, monitor, tmp_path)
    assert (counts.lost, counts.doubled, counts.transitions) == (1, 1, 5)
