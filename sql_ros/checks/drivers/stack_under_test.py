"""The stack under test: its files, its process, and the output of its terminal."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import yaml

from sql_ros.checks.drivers.table import DriverRow
from sql_ros.checks.played_latency import RECORDS, store_played_latency
from sql_ros.checks.processes import node_command, start_process
from sql_ros.common.child_process import python_words
from sql_ros.common.data_files import share_folder
from sql_ros.robot.measured import measured_arm, resolved_topic
from sql_ros.robot.robot_file import load_robot

SMALL: dict[
    str, dict[str, Any]
] = {  # parameters by node: a learner that begins at once and uses little of a core
    "learner": {
        "threads": 1,
        "trainer": {"warmup_transitions": 50, "replay_capacity": 20000},
        "algorithm": {"hidden_sizes": [32, 32], "batch_size": 32},
    },
    "monitor": {"evaluation_episodes": 1},
}
SQL_ROS = ["-m", "sql_ros.cli.main"]
FOREIGN = "ur5e"  # arm whose policy fits no other arm


class StackUnderTest:
    """The process of a row: `sql-ros up`, `sql-ros trials`, or the actor alone. Construction writes
    its files and starts it.

    Args:
        row: Arm, mode and case.
        policies: ONNX file by name of the arm double.
        folder: Folder for all files of the row, created if it does not exist.
        domain: ROS_DOMAIN_ID.

    Attributes:
        process: The started process.
        log: File with its terminal output.
    """

    def __init__(
        self, row: DriverRow, policies: dict[str, Path], folder: Path, domain: int
    ) -> None:
        self._row = row
        self._policies = policies
        self._folder = folder
        self._domain = domain
        folder.mkdir(parents=True, exist_ok=True)
        task = self._write_files()
        environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_LOG_DIR": str(folder / "ros_log"),
            "XDG_STATE_HOME": str(folder / "state"),  # records of other rows are not seen
        }
        self.log = folder / "terminal.log"
        with self.log.open("wb") as file:
            words = self._command_words(task)
            self.process = start_process(words, file, environment=environment, folder=folder)

    @property
    def output(self) -> str:
        """Return the terminal output so far."""
        return self.log.read_text(errors="replace")

    @property
    def code(self) -> int | None:
        """Return the exit code; None while the process runs."""
        return self.process.poll()

    def report(self) -> str:
        """Return the terminal output and all Markdown reports of the run as one text."""
        files = sorted((self._folder / "run").rglob("*.md"))
        return "\n".join([self.output, *(path.read_text(errors="replace") for path in files)])

    # --- actions ---

    def interrupt(self) -> None:
        """Send SIGINT to the started process, as Ctrl-C does."""
        self._signal(self.process.pid, signal.SIGINT)

    def terminate_stack(self) -> None:
        """Send SIGTERM to the started process, as `docker stop` does."""
        self._signal(self.process.pid, signal.SIGTERM)

    def kill_stack(self) -> None:
        """Send SIGKILL to the started process."""
        self._signal(self.process.pid, signal.SIGKILL)

    def kill_actor(self) -> None:
        """Send SIGKILL to each child process that moves the arm: actor or trials."""
        for pid in self.children():
            words = _command_line(pid)
            if any(word.endswith(("actor_node", "trials_node")) for word in words):
                self._signal(pid, signal.SIGKILL)

    def children(self) -> list[int]:
        """Return the ids of the running processes whose parent is the started process."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and _parent(entry) == self.process.pid:
                found.append(int(entry.name))
        return found

    def close(self) -> None:
        """Kill the started process and those of its children that still run and belong to
        this row.
        """
        pids = self.children()
        if self.code is None:
            self.process.kill()
        self.process.wait()
        for pid in pids:
            if str(self._folder) in " ".join(_command_line(pid)):
                self._signal(pid, signal.SIGKILL)

    def _signal(self, pid: int, number: int) -> None:
        """Send a signal to a process; do nothing if it has ended."""
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return

    # --- files and command line ---

    def _write_files(self) -> Path:
        """Write robot file, task, parameters and protocol of the row; return the path of the task.

        If the case says that the arm is known, and the robot file has a controller for the command
        mode, also write a record of an identification into the folder of the row, see
        `_pretend_identified`.
        """
        arm = self._row.arm
        case = self._row.case
        config = share_folder() / "config"
        task = yaml.safe_load((config / "tasks" / f"{arm.task}.yaml").read_text())
        robot = yaml.safe_load((config / "robots" / f"{task['robot']}.yaml").read_text())
        robot |= {**arm.robot, **case.robot}
        robot = {key: value for key, value in robot.items() if value is not None}
        task["robot"] = str(self._folder / "robot.yaml")
        parameters = {node: {"ros__parameters": values} for node, values in SMALL.items()}
        robot_file = self._write("robot.yaml", yaml.safe_dump(robot))
        if case.is_known and arm.mode in robot.get("controllers", {}):
            self._pretend_identified(robot_file, arm.mode)
        self._write("params.yaml", yaml.safe_dump(parameters))
        self._write("protocol.yaml", case.protocol)
        return self._write(f"{arm.task}.yaml", yaml.safe_dump(task))

    def _pretend_identified(self, robot_file: Path, mode: str) -> None:
        """Write the record that an identification of the arm would leave, with a latency of 0 s.

        The record is in the folder `state` of the row, which is XDG_STATE_HOME of the started
        process.

        Args:
            robot_file: Robot file of the arm.
            mode: Command mode, for which the robot file has a controller.
        """
        robot = load_robot(str(robot_file))
        controller = robot.controller(mode)
        topic = resolved_topic(controller.command_topic, "")
        arm = measured_arm(robot_file, mode, topic, robot.wire_joints, self._domain)
        records = self._folder / "state" / RECORDS
        store_played_latency(arm, records, controller=controller.name)

    def _write(self, name: str, text: str) -> Path:
        """Write a text file in the folder of the row; return its path."""
        path = self._folder / name
        path.write_text(text)
        return path

    def _command_words(self, task: Path) -> list[str]:
        """Return the command line that starts the row's process.

        Args:
            task: Path of the task file.
        """
        row = self._row
        if row.case.start == "actor":
            parameters = {"task": task, "mode": row.mode}
            return node_command("actor", parameters, {"commands": row.arm.topic})
        if row.mode == "trials":
            return self._trials_words(task)
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
        return [*python_words(), *SQL_ROS, "up", "sawyer_stack", *words]

    def _trials_words(self, task: Path) -> list[str]:
        """Return the command line of `sql-ros trials --real`.

        Args:
            task: Path of the task file.
        """
        policy = self._policies[self._row.arm.name]
        options = {
            "--policy": policy,
            "--task": task,
            "--protocol": self._folder / "protocol.yaml",
            "--out": self._folder / "run",
        }
        words = [str(word) for option in options.items() for word in option]
        return [*python_words(), *SQL_ROS, "trials", "--real", *words]


def _parent(entry: Path) -> int:
    """Return the id of a process's parent; 0 if the process has ended.

    Args:
        entry: Folder of the process in /proc.
    """
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def _command_line(pid: int) -> list[str]:
    """Return the words of a process's command line; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []
