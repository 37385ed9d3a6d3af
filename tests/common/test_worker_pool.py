"""Pools of worker processes."""

import os

import pytest

from sql_ros.common.worker_pool import worker_pool

NAME = "SQL_ROS_TEST_WORKER"


@pytest.mark.parametrize("spawns", [True, False])
def test_a_worker_runs_what_prepares_it(spawns):
    prepare = _prepare
    with worker_pool(1, spawns=spawns, initialize=prepare) as pool:
        assert pool.submit(os.getenv, NAME).result() == "ready"
    assert NAME not in os.environ


def _prepare() -> None:
    os.environ[NAME] = "ready"
