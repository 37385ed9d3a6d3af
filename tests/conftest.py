"""Shared by all tests: message fields are checked, logs stay out of the home folder, nothing is shown on a display."""

import contextlib
import os
import resource
import signal
import tempfile

os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="sql_ros_logs_"))

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sql_ros.core.spec import TaskSpec
from sql_ros.robot.tasks import load_task
from sql_ros.robot.tasks.reach import Task


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests begin first: what begins last would end alone, with the other cores idle."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def task() -> Task:
    """The task `sawyer_reach` as shipped."""
    return load_task("sawyer_reach")


@pytest.fixture(scope="session")
def small_spec() -> TaskSpec:
    """Three observations, two joints."""
    return TaskSpec("small", ("a", "b", "c"), (0.0, 0.5, 0.0), (1.0, 0.1, 10.0), ("j0", "j1"), "velocity", (1.0, 2.0), 20.0)


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

    from sql_ros.core.algorithm import AlgorithmConfig
    from sql_ros.core.export import export_policy
    from sql_ros.core.learner import Learner
    from sql_ros.core.networks import Scaling

    def export(version: int = 1, seed: int = 0) -> bytes:
        scaling = Scaling(task.spec.observation_offset, task.spec.observation_scale)
        learner = Learner(AlgorithmConfig(hidden_sizes=(16, 16)), scaling, task.spec.action_size, seed)
        return export_policy(learner, task.spec, version, "")[0]

    return export


@pytest.fixture(scope="session")
def overflowing(untrained) -> bytes:
    """A policy of `sawyer_reach` whose output is finite for the zero observation, and for no other."""
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
