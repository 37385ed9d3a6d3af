"""Shared by all tests: message fields are checked, logs stay out of the home folder, nothing is shown on a display."""

import os
import tempfile

os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="sql_ros_logs_"))

import numpy as np
import pytest

from sql_ros.core.spec import TaskSpec
from sql_ros.robot.tasks import load_task
from sql_ros.robot.tasks.reach import Task


@pytest.fixture(scope="session")
def task() -> Task:
    """The task `sawyer_reach` as shipped."""
    return load_task("sawyer_reach")


@pytest.fixture(scope="session")
def small_spec() -> TaskSpec:
    """Three observations, two joints."""
    return TaskSpec("small", ("a", "b", "c"), ("j0", "j1"), "velocity", (1.0, 2.0), 20.0)


@pytest.fixture
def rng() -> np.random.Generator:
    """The same draws in every test."""
    return np.random.default_rng(0)
