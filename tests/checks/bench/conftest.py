"""One thread of torch: at these sizes a second one only waits, and makes the others on the machine
wait.
"""

import pytest

from sql_ros.checks.bench.learner import torch_threads


@pytest.fixture(autouse=True)
def _one_thread():
    with torch_threads(1):
        yield
