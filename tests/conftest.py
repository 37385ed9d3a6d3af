"""Shared by all tests: message fields are checked, logs stay out of the home folder, nothing is
shown on a display.
"""

import contextlib
import os
import resource
import signal
import tempfile
from collections import defaultdict
from fnmatch import fnmatchcase

os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="sql_ros_logs_"))
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="sql_ros_state_")  # no arm was measured

import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

from sql_ros.common.data_files import share_folder
from sql_ros.policy.task_spec import TaskSpec
from sql_ros.robot.tasks import load_task
from sql_ros.robot.tasks.reach import Task


def pytest_configure(config: pytest.Config) -> None:
    """Select the tests without node processes under `colcon test`, unless it was given `-m`."""
    if config.option.junitprefix == "sql_ros" and not config.option.markexpr:  # colcon gives that
        config.option.markexpr = "not stack and not long"


@pytest.hookimpl(tryfirst=True)  # before pytest selects by `-m`
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark cases as long, and sort the tests: what begins last would end alone.

    `short` names the cases of a parametrised test that `make test` runs, by patterns of their ids.
    The other cases are long. The tests with the longest timeouts begin first.
    """
    cases = defaultdict(list)
    for item in items:
        if short := item.get_closest_marker("short"):
            is_short = any(fnmatchcase(item.callspec.id, pattern) for pattern in short.args)
            cases[item.function].append(is_short)
            if not is_short:
                item.add_marker(pytest.mark.long)
    for function, are_short in cases.items():
        if len(are_short) > 1 and not any(are_short):
            raise pytest.UsageError(f"{function.__name__}: the marker `short` fits none of its ids")
    items.sort(key=_negative_timeout)


def _negative_timeout(item: pytest.Item) -> float:
    """Return the negative timeout of a test [s]; 0 for that of all tests."""
    timeout = item.get_closest_marker("timeout")
    return -float(timeout.args[0]) if timeout else 0.0


@pytest.fixture(scope="session")
def task() -> Task:
    """The task `sawyer_reach` as shipped."""
    return load_task("sawyer_reach")


@pytest.fixture(scope="session")
def small_spec() -> TaskSpec:
    """Three observations, two joints."""
    return TaskSpec(
        "small",
        ("a", "b", "c"),
        (0.0, 0.5, 0.0),
        (1.0, 0.1, 10.0),
        ("j0", "j1"),
        "velocity",
        (1.0, 2.0),
        20.0,
    )


UR5E_LINKS = (
    "shoulder_link",
    "upper_arm_link",
    "forearm_link",
    "wrist_1_link",
    "wrist_2_link",
    "wrist_3_link",
)


@pytest.fixture(scope="session")
def bare_task() -> Callable[..., Path]:
    """Write `ur5e_reach` into a folder, with an arm whose named links collide with nothing.

    Return the task's file.
    """

    def write(
        folder: Path, links: Sequence[str] = UR5E_LINKS, contype: str = "0", conaffinity: str = "0"
    ) -> Path:
        folder.mkdir(exist_ok=True)
        share = share_folder()
        files = {}
        arm = ET.fromstring((share / "sim/robots/ur5e.xml").read_text())
        for body in arm.iter("body"):
            for geom in body.findall("geom") if body.get("name") in links else ():
                geom.attrib.update(contype=contype, conaffinity=conaffinity)
        scene = (
            (share / "sim/scenes/ur5e_reach.xml")
            .read_text()
            .replace("../robots/ur5e.xml", "ur5e.xml")
        )
        robot = yaml.safe_load((share / "config/robots/ur5e.yaml").read_text())
        task = yaml.safe_load((share / "config/tasks/ur5e_reach.yaml").read_text())
        files["ur5e.xml"] = ET.tostring(arm, encoding="unicode")
        files["scene.xml"] = scene
        files["robot.yaml"] = yaml.safe_dump(robot | {"model": str(folder / "ur5e.xml")})
        of_folder = {"robot": str(folder / "robot.yaml"), "scene": str(folder / "scene.xml")}
        files["ur5e_reach.yaml"] = yaml.safe_dump(task | of_folder)
        for name, text in files.items():
            (folder / name).write_text(text)
        return folder / "ur5e_reach.yaml"

    return write


@pytest.fixture
def full_disk():
    """`with full_disk(20_000):` no file gets longer, which stands for a disk that is full."""

    @contextlib.contextmanager
    def limited(length: int):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)

    return limited


@pytest.fixture(scope="session")
def lives() -> Callable[[int], bool]:
    """Whether a process is there, and is no zombie that nobody waited for."""

    def is_alive(pid: int) -> bool:
        try:
            return " Z " not in Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False

    return is_alive


@pytest.fixture
def rng() -> np.random.Generator:
    """The same draws in every test."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def untrained(task: Task) -> Callable[..., bytes]:
    """Exports an untrained policy of `sawyer_reach`: untrained(version=1, seed=0)."""

    from sql_ros.learning.algorithm import AlgorithmConfig
    from sql_ros.learning.export import export_policy
    from sql_ros.learning.learner import Learner
    from sql_ros.learning.networks import Scaling

    def export(version: int = 1, seed: int = 0) -> bytes:
        scaling = Scaling(task.spec.observation_offset, task.spec.observation_scale)
        learner = Learner(
            AlgorithmConfig(hidden_sizes=(16, 16)), scaling, task.spec.action_size, seed
        )
        return export_policy(learner, task.spec, version, "")[0]

    return export


@pytest.fixture(scope="session")
def overflowing(untrained) -> bytes:
    """A policy of `sawyer_reach` whose output is finite for the zero observation, and for no
    other.
    """
    import onnx
    from onnx import helper

    model = onnx.load_model_from_string(untrained())
    for node in model.graph.node:
        node.input[:] = ["tainted" if name == "observation" else name for name in node.input]
    first = [
        helper.make_node("Mul", ["observation", "large"], ["larger"]),
        helper.make_node("Mul", ["larger", "large"], ["largest"]),
        helper.make_node("Sub", ["largest", "largest"], ["taint"]),  # inf - inf
        helper.make_node("Add", ["observation", "taint"], ["tainted"]),
    ]
    nodes = [*first, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(helper.make_tensor("large", onnx.TensorProto.FLOAT, [1], [3e38]))
    return bytes(model.SerializeToString())
