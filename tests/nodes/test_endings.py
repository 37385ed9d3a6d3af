"""Every way in which a stack can be ended: the arm is held within 0.5 s, and all processes have
ended within 8 s.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from sql_ros.nodes.qos import RELIABLE

pytestmark = pytest.mark.stack

HELD_S, ENDED_S = 0.5, 8.0

QUICK = {
    "learner": {
        "trainer": {
            "warmup_transitions": 200,
            "updates_per_transition": 0.5,
            "replay_capacity": 50000,
        },
        "algorithm": {"hidden_sizes": [32, 32], "batch_size": 32},
    },
    # still evaluating when it has to end
    "monitor": {"evaluation_episodes": 1000, "evaluation_period": 1000},
}

# `ros2 launch` in everything that matters here: it starts the nodes with the environment of
# launch/sawyer_stack.launch.py
LAUNCH = """
import os, signal, subprocess, sys
from sql_ros.common.child_process import PARENT
from sql_ros.stack.description import lock_run_dir, ros_arguments
from sql_ros.stack.launched import end_on_sigterm
from sql_ros.stack.preflight import preflight
stack, lock = lock_run_dir(preflight(dict(word.split(":=") for word in sys.argv[1:])))
environment = {**os.environ, PARENT: str(os.getpid())}
pids = []
for process in stack.processes:
    module = f"sql_ros.nodes.{process.executable}_node"
    words = [sys.executable, "-m", module, *ros_arguments(process, stack)]
    pids.append(subprocess.Popen(words, env=environment).pid)
if ENDS_NODES:
    end_on_sigterm(lambda: pids)
signal.pause()
"""


@pytest.fixture
def quick(tmp_path):
    path = tmp_path / "quick.yaml"
    path.write_text(
        yaml.safe_dump(
            {node: {"ros__parameters": parameters} for node, parameters in QUICK.items()}
        )
    )
    return path


def _children(pid: int) -> set[int]:
    """Return the ids of the children of a process that run a node."""
    found = subprocess.run(
        ["pgrep", "-P", str(pid), "-f", "sql_ros.nodes"],
        capture_output=True,
        text=True,
        check=False,
    )
    return set(map(int, found.stdout.split()))


def _start(processes, kind: str, *arguments: str) -> subprocess.Popen:
    if kind != "up":
        script = LAUNCH.replace("ENDS_NODES", str(kind == "launch in a container"))
        return processes.start([sys.executable, "-c", script, *arguments])
    return processes.start(
        [sys.executable, "-m", "sql_ros.cli.main", "up", "sawyer_stack", *arguments]
    )


class Motion:
    """Commands on the arm's topic; an arm that gets no command or zeros is held."""

    def __init__(self, probe) -> None:
        self.last = 0.0  # system time at which the last command that moves the arm was sent [s]
        self.count = 0
        probe.node.create_subscription(
            Float64MultiArray, "sim_bridge/commands", self._on_command, RELIABLE
        )

    def _on_command(self, message: Float64MultiArray, info: dict) -> None:
        if np.abs(message.data).max() > 0.0:
            self.last = 1e-9 * info["source_timestamp"]
            self.count += 1


def _once_it_moves(probe, parent: subprocess.Popen, motion: Motion, folder: Path) -> set[int]:
    """Wait until the arm moves and the run has an episode; return the ids of the four nodes."""
    metrics = folder / "metrics.jsonl"

    def is_going_on() -> bool:
        assert parent.poll() is None, parent.log.read_text()
        return motion.count > 50 and metrics.is_file() and '"episode"' in metrics.read_text()

    probe.wait(is_going_on, timeout=480)
    pids = _children(parent.pid)
    assert len(pids) == 4
    return pids


@pytest.mark.short("up-SIGKILL")
@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("launch", signal.SIGTERM),
        ("launch", signal.SIGKILL),
        ("launch in a container", signal.SIGTERM),
        ("up", signal.SIGTERM),
        ("up", signal.SIGKILL),
        ("up", signal.SIGHUP),
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else value,
)
def test_the_arm_is_held_and_all_ends_with_the_parent(
    processes, probe, quick, tmp_path, lives, kind, number
):
    """A killed command, a closed terminal and `docker stop`, while the arm moves and the monitor
    evaluates.
    """
    motion = Motion(probe)
    folder = tmp_path / "mine"
    parent = _start(
        processes, kind, f"run_dir:={folder}", f"params_file:={quick}", "realtime_factor:=1"
    )
    pids = _once_it_moves(probe, parent, motion, folder)
    began = time.time()
    parent.send_signal(number)
    if kind == "launch in a container":  # with whose end the kernel ends all
        probe.wait(lambda: parent.poll() is not None)
        assert not any(map(lives, pids))
    probe.wait(
        lambda: parent.poll() is not None and not any(map(lives, pids)), what="the end of all nodes"
    )
    ended = time.time()
    print(
        f"{kind}, {number.name}: held after {motion.last - began:.3f} s, all ended after"
        f" {ended - began:.2f} s"
    )
    assert motion.last - began <= HELD_S
    assert ended - began <= ENDED_S


@pytest.mark.long
def test_ctrl_c_twice_ends_at_once_after_the_arm_is_held(processes, probe, quick, tmp_path, lives):
    motion, folder = Motion(probe), tmp_path / "mine"
    stack = _start(
        processes, "up", f"run_dir:={folder}", f"params_file:={quick}", "realtime_factor:=1"
    )
    pids = _once_it_moves(probe, stack, motion, folder)
    began = time.time()
    stack.send_signal(signal.SIGINT)
    probe.wait(lambda: "Ctrl-C again ends at once" in stack.log.read_text())
    stack.send_signal(signal.SIGINT)
    probe.wait(lambda: stack.poll() is not None and not any(map(lives, pids)))
    assert stack.returncode == 130
    assert motion.last - began <= HELD_S
    assert time.time() - began <= ENDED_S
    stack.until_said("monitor was killed")
    assert not (folder / "report.md").exists()


@pytest.mark.long
def test_ctrl_z_holds_the_arm_and_says_how_to_go_on(processes, probe, quick, tmp_path):
    """The nodes are in sessions of their own: a terminal sends it to `sql-ros up` alone."""
    motion, folder = Motion(probe), tmp_path / "mine"
    stack = _start(
        processes, "up", f"run_dir:={folder}", f"params_file:={quick}", "realtime_factor:=1"
    )
    _once_it_moves(probe, stack, motion, folder)
    began = time.time()
    stack.send_signal(signal.SIGTSTP)
    probe.spin_for(2.0)
    assert motion.last - began <= HELD_S
    stack.until_said("Ctrl-Z: the arm is held, and no process is stopped")
    stack.until_said("To let the arm go on: 'ros2 service call /actor/reset std_srvs/srv/Trigger'")
    assert probe.call(Trigger, "actor/reset", Trigger.Request()).success
    probe.wait(
        lambda: probe.call(Trigger, "actor/start", Trigger.Request()).success, what="a start"
    )
    count = motion.count
    probe.wait(lambda: motion.count > count, what="motion")
    assert processes.stop(stack) == 0
    assert (folder / "report.md").is_file()


@pytest.mark.long
def test_a_process_killed_before_it_was_active_is_not_started_again(
    processes, probe, quick, tmp_path
):
    """The kernel ends a learner whose buffer is larger than the memory: it would be ended again."""
    folder = tmp_path / "mine"
    stack = _start(processes, "up", f"run_dir:={folder}", f"params_file:={quick}")
    found = probe.wait(lambda: _learner(stack.pid))
    os.kill(found, signal.SIGKILL)
    assert stack.wait(240) == 128 + signal.SIGKILL
    said = stack.log.read_text()
    assert "learner ended with exit code -9 (SIGKILL) before it was active" in said
    assert "trainer.replay_capacity" in said
    assert f"(the whole log: {folder}/log/learner.log)" in said
    assert "started again" not in said


def _learner(parent: int) -> int:
    """Return the id of the learner's process among the children of a process; 0: it is not there
    yet.
    """
    found = subprocess.run(
        ["pgrep", "-P", str(parent), "-f", "learner_node"],
        capture_output=True,
        text=True,
        check=False,
    )
    return int(found.stdout or 0)


@pytest.mark.long
def test_ctrl_c_during_the_start_is_no_failure(processes, probe, quick, tmp_path):
    """The learner imports torch for some seconds, in which SIGINT ends it by its default action."""
    stack = _start(processes, "up", f"run_dir:={tmp_path / 'mine'}", f"params_file:={quick}")
    probe.wait(lambda: _learner(stack.pid))
    assert processes.stop(stack) == 0
