"""The tutorials of docs/, typed as they stand there; those of a real arm beside a double of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sql_ros.common.data_files import share_folder

pytestmark = [pytest.mark.stack, pytest.mark.long]
DOCS = share_folder() / "docs"
BLOCK = re.compile(r"^```bash ?(.*?)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PATIENCE_S = 240.0
SMALL = """
learner:
  ros__parameters:
    trainer: {warmup_transitions: 50, replay_capacity: 20000}
    algorithm: {hidden_sizes: [16, 16], batch_size: 16}
monitor:
  ros__parameters: {evaluation_episodes: 1}
"""  # a training that is over in seconds
START = """
import time
import rclpy
from std_srvs.srv import Trigger
rclpy.init()
node = rclpy.create_node('operator')
client = node.create_client(Trigger, '/actor/start')
assert client.wait_for_service(60.0)
for _ in range(20):  # a busy machine holds the arm for a moment now and then: ask again
    call = client.call_async(Trigger.Request())
    rclpy.spin_until_future_complete(node, call, timeout_sec=60.0)
    if call.result().success:
        break
    time.sleep(1.0)
assert call.result().success, call.result().message
"""
SHORTER = {
    "sql-ros up": "params_file:=small.yaml most_transitions:=150",
    "sql-ros train": "--steps 300",
    "sql-ros trials": "--repeats 1 --protocol reference",
    "sql-ros eval": "--episodes 1",
}  # what is added to a command that ends by itself
# your_task.md is not typed: its demonstration ends with 1 after so short a training
TUTORIALS = {
    "first_training.md": 5,
    "stack_and_push.md": 5,
    "your_arm.md": 6,
    "ur5e.md": 8,
    "sawyer.md": 8,
}  # with the least number of commands, which shows that they are found
DESCRIPTION = ("panda.urdf", str(share_folder() / "sim/robots/panda.xml"))  # of the reader's arm


class Shell:
    """A terminal of a reader, in a folder and a domain of its own."""

    def __init__(self, folder: Path, domain: int) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen] = []
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        log_folder = str(folder / "ros_log")
        domain_id = str(domain)
        self._environment = {
            **os.environ,
            "PATH": path,
            "ROS_DOMAIN_ID": domain_id,
            "ROS_LOG_DIR": log_folder,
            "XDG_STATE_HOME": str(folder / "state"),
        }
        (folder / "small.yaml").write_text(SMALL)

    def type(self, command: str) -> subprocess.Popen:
        """Start a command as the shell would."""
        log = self._folder / f"terminal{len(self._running)}.log"
        words = ["bash", "-c", f"exec {command}"]
        with log.open("wb") as file:
            process = subprocess.Popen(
                words,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        process.log = log
        self._running.append(process)
        return process

    def start_arm(self) -> None:
        """Call /actor/start, as `ros2 service call` does."""
        process = self.type(f'{sys.executable} -c "{START}"')
        assert process.wait(PATIENCE_S) == 0, process.log.read_text(errors="replace")

    def close(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self._running:
            process.wait(60)


@pytest.fixture
def shell(tmp_path, domain):
    shell = Shell(tmp_path, domain)
    yield shell
    shell.close()


@pytest.fixture
def domain() -> int:
    """Of DDS, apart from those of tests/nodes (1 to 50) and of sql-ros bench, chaos and verify."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return 230 + int(worker) % 2


def _wait_for(process: subprocess.Popen, text: str, shown: int = 0) -> None:
    """Wait until the terminal of a command shows a text behind the letters that it has shown
    before.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not re.search(text, process.log.read_text(errors="replace")[shown:]):
        said = process.log.read_text(errors="replace")
        assert process.poll() is None, f"ended before it said '{text}': {said}"
        assert time.monotonic() < deadline, f"did not say '{text}': {said}"
        time.sleep(0.1)


def _commands(page: str) -> list[tuple[str, str]]:
    """Return how each command of a page ends, and the command, in the order of the page."""
    text = (DOCS / page).read_text().replace(*DESCRIPTION)
    commands = [
        (how, command) for how, block in BLOCK.findall(text) for command in block.splitlines()
    ]
    assert len(commands) >= TUTORIALS[page], f"{page} has fewer commands than before: {commands}"
    return commands


def _typed(how: str, command: str) -> str:
    """Return a command as the test types it: one that ends by itself is made shorter."""
    name = " ".join(command.split()[:2])
    return command if how else f"{command} {SHORTER.get(name, '')}".strip()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", TUTORIALS)
def test_a_tutorial_works_as_written(shell, page):
    """A command ends well by itself, or says the text after `until:` and ends well at Ctrl-C.

    With `start` the arm is identified after a call of `/actor/start`, and acts after another.
    """
    for how, command in _commands(page):
        process = shell.type(_typed(how, command))
        if how == "background":
            continue
        shown = 0
        if how.startswith("start until: "):
            _wait_for(process, "not identified yet")
            shell.start_arm()
            _wait_for(process, "the arm is identified [(]all")
            shell.start_arm()
            shown = process.log.read_text(errors="replace").rindex("the arm is identified (all")
        if "until: " in how:
            _wait_for(process, how.split("until: ")[1], shown)
            if "run_dir:=" in command:  # a run without a transition cannot be resumed
                _wait_for(process, r"transitions [1-9]")
            process.send_signal(signal.SIGINT)
        code = process.wait(PATIENCE_S)
        assert code == 0, f"{command}: exit code {code}\n{process.log.read_text(errors='replace')}"
