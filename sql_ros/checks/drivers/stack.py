"""The stack under test: its files, its processes, and what its terminal shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from sql_ros.checks.drivers.table import Row
from sql_ros.core.parent import ending_with_this_process
from sql_ros.share import share_folder

SMALL: dict[str, dict[str, Any]] = {  # a learner that begins at once and leaves the core to others
    "learner": {
        "threads": 1,
        "trainer": {"warmup_transitions": 50, "replay_capacity": 20000},
        "algorithm": {"hidden_sizes": [32, 32], "batch_size": 32},
    },
    "monitor": {"evaluation_episodes": 1},
}
SQL_ROS = [sys.executable, "-m", "sql_ros.cli.main"]
FOREIGN = "ur5e"  # its policy fits no other arm


class Stack:
    """`sql-ros up` or `sql-ros trials` for a row of the table, or the actor alone.

    Args:
        row: arm, mode and case.
        policies: an ONNX file per arm double, by its name.
        folder: for everything that the row writes.
        domain: of DDS.
    """

    def __init__(self, row: Row, policies: dict[str, Path], folder: Path, domain: int) -> None:
        self._row, self._policies, self._folder = row, policies, folder
        folder.mkdir(parents=True, exist_ok=True)
        task = self._write_files()
        environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_LOG_DIR": str(folder / "ros_log"),
        }
        self.log = folder / "terminal.log"
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                self._words(task),
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                preexec_fn=ending_with_this_process(),
            )

    @property
    def output(self) -> str:
        """What the terminal shows."""
        return self.log.read_text(errors="replace")

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self.process.poll()

    def report(self) -> str:
        """Return what the run left: terminal, reports and tables."""
        files = sorted((self._folder / "run").rglob("*.md"))
        return "\n".join([self.output, *(path.read_text(errors="replace") for path in files)])

    # --- what can be done to it ---

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._signal(self.process.pid, signal.SIGINT)

    def terminate_stack(self) -> None:
        """SIGTERM to the command, as `docker stop` sends it."""
        self._signal(self.process.pid, signal.SIGTERM)

    def kill_stack(self) -> None:
        """SIGKILL to the command."""
        self._signal(self.process.pid, signal.SIGKILL)

    def kill_actor(self) -> None:
        """SIGKILL to the process that drives the arm."""
        for pid in self.children():
            words = _command_line(pid)
            if any(word.endswith(("actor_node", "trials_node")) for word in words):
                self._signal(pid, signal.SIGKILL)

    def children(self) -> list[int]:
        """Return the processes that the command started."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and _parent(entry) == self.process.pid:
                found.append(int(entry.name))
        return found

    def close(self) -> None:
        """End what is still running."""
        pids = self.children()
        if self.code is None:
            self.process.kill()
        self.process.wait()
        for pid in pids:
            if str(self._folder) in " ".join(_command_line(pid)):
                self._signal(pid, signal.SIGKILL)

    def _signal(self, pid: int, number: int) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return

    # --- its files and words ---

    def _write_files(self) -> Path:
        """Write robot, task, parameters and protocol; return the task."""
        arm, case, config = self._row.arm, self._row.case, share_folder() / "config"
        task = yaml.safe_load((config / "tasks" / f"{arm.task}.yaml").read_text())
        robot = yaml.safe_load((config / "robots" / f"{task['robot']}.yaml").read_text())
        robot |= {**arm.robot, **case.robot}
        robot = {key: value for key, value in robot.items() if value is not None}
        task["robot"] = str(self._folder / "robot.yaml")
        parameters = {node: {"ros__parameters": values} for node, values in SMALL.items()}
        self._write("robot.yaml", yaml.safe_dump(robot))
        self._write("params.yaml", yaml.safe_dump(parameters))
        self._write("protocol.yaml", case.protocol)
        return self._write(f"{arm.task}.yaml", yaml.safe_dump(task))

    def _write(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text)
        return path

    def _words(self, task: Path) -> list[str]:
        row = self._row
        if row.case.start == "actor":
            module = [sys.executable, "-m", "sql_ros.nodes.actor_node", "--ros-args"]
            remapping = ["-r", f"commands:={row.arm.topic}"]
            return [*module, "-p", f"task:={task}", "-p", f"mode:={row.mode}", *remapping]
        if row.mode == "trials":
            return self._trials(task)
        arguments = {
            "sim": "false",
            "mode": row.mode,
            "task": str(task),
            "run_dir": str(self._folder / "run"),
            "params_file": str(self._folder / "params.yaml"),
        }
        if row.mode != "train":
            arguments["policy"] = str(self._policies[row.arm.name])
        foreign = self._policies[FOREIGN]
        for name, value in row.case.arguments.items():
            arguments[name] = value.replace("{foreign_policy}", str(foreign))
        words = [f"{name}:={value}" for name, value in arguments.items()]
        return [*SQL_ROS, "up", "sawyer_stack", *words]

    def _trials(self, task: Path) -> list[str]:
        policy = self._policies[self._row.arm.name]
        options = {
            "--policy": policy,
            "--task": task,
            "--protocol": self._folder / "protocol.yaml",
            "--out": self._folder / "run",
        }
        words = [str(word) for option in options.items() for word in option]
        return [*SQL_ROS, "trials", "--real", *words]


def _parent(entry: Path) -> int:
    """Return the parent of a process by its folder in /proc; 0 if it has gone."""
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []
