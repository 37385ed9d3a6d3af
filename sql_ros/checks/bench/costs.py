"""Costs beside the gradient computation of an update: drawing a batch, adding a transition, memory.

`python -m sql_ros.checks.bench.costs REQUEST` is the child process of `peak_update_bytes`.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sql_ros.checks.bench.implementations import UpdateProblem
from sql_ros.common.child_process import python_words
from sql_ros.common.errors import ConfigError
from sql_ros.learning.replay import ReplayBuffer
from sql_ros.policy.transition import Transition

FULL_SIZE = 1_000_000  # transitions, the default capacity of the trainer
RESET_PEAK = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class BufferCosts:
    """Costs of a full replay buffer.

    Attributes:
        sample_seconds: Time to draw one batch [s], median of the measurements.
        add_seconds: Time to add one transition, which replaces the oldest [s], median of the
            measurements.
        nbytes: Memory of the buffer's arrays [bytes].
    """

    sample_seconds: float
    add_seconds: float
    nbytes: int


def buffer_costs(
    batch: int = 256,
    observation_size: int = 20,
    action_size: int = 7,
    capacity: int = FULL_SIZE,
    repeats: int = 7,
    seed: int = 0,
) -> BufferCosts:
    """Fill a replay buffer with copies of one random transition and measure it.

    Args:
        batch: Transitions per drawn batch.
        observation_size: Numbers in an observation, S.
        action_size: Numbers in an action, A.
        capacity: Transitions in the buffer.
        repeats: Measurements behind each median. One measurement is the mean of 200 draws or of
            2000 additions.
        seed: Seed of the transition and of the draws.

    Returns:
        Median times and the memory.
    """
    replay = ReplayBuffer(capacity, observation_size, action_size)
    rng = np.random.default_rng(seed)
    row = rng.standard_normal(observation_size).astype(np.float32)
    action = rng.uniform(-1, 1, action_size).astype(np.float32)
    rows: dict[str, Any] = {
        "observation": row,
        "action": action,
        "reward": np.float32(0),
        "next_observation": row,
        "terminated": np.float32(0),
    }
    replay.restore(
        {
            name: np.broadcast_to(value, (capacity, *np.shape(value)))
            for name, value in rows.items()
        },
        capacity,
    )
    transition = Transition(row, action, 0.0, row, False, False)
    return BufferCosts(
        _median_seconds(lambda: replay.sample(batch, rng), 200, repeats),
        _median_seconds(lambda: replay.add(transition), 2000, repeats),
        replay.nbytes,
    )


def _median_seconds(call: Callable[[], Any], calls: int, repeats: int) -> float:
    """Return the time of one call [s]: the median over the measurements of the mean over their
    calls.

    Args:
        call: Function to time.
        calls: Calls per measurement, at least 1.
        repeats: Measurements, at least 1. One more measurement comes first to warm up and is not
            counted.
    """
    samples = []
    for _ in range(repeats + 1):  # the first measurement warms up
        start = time.perf_counter()
        for _ in range(calls):
            call()
        samples.append((time.perf_counter() - start) / calls)
    return statistics.median(samples[1:])


def peak_update_bytes(
    problem: UpdateProblem, settings: Mapping[str, Any], threads: int = 2, updates: int = 10
) -> int | None:
    """Measure by how much the first updates of a learner raise the peak of the resident memory
    [bytes].

    The state of the optimisers, which the first update allocates, is included. The replay buffer is
    not. The measurement runs in a new child process, because `ru_maxrss` of a child begins at its
    parent's value. In the child, a tiny learner makes one update first, so that every library is
    loaded before the measurement.

    Args:
        problem: Sizes of the update.
        settings: Fields of `AlgorithmConfig` that replace the defaults and the sizes.
        threads: Threads of torch in the child process.
        updates: Number of updates to make.

    Returns:
        Peak after the updates less the memory before them. None where /proc/self/status has no
        VmRSS or VmHWM.

    Raises:
        ConfigError: The child process failed; the text holds its stderr.
    """
    request = {
        "problem": dataclasses.asdict(problem),
        "settings": dict(settings),
        "threads": threads,
        "updates": updates,
    }
    command = [*python_words(), "-m", "sql_ros.checks.bench.costs", json.dumps(request)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ConfigError(
            "measuring memory failed:"
            f" {result.stderr.strip() or 'exit code ' + str(result.returncode)}"
        )
    peak: int | None = json.loads(result.stdout.splitlines()[-1])
    return peak


def _status_bytes(key: str) -> int | None:
    """Read a memory size of this process from /proc/self/status.

    Args:
        key: "VmRSS" for the resident memory now, "VmHWM" for its peak.

    Returns:
        The size [bytes]. None if the file or the entry does not exist.
    """
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(key)), None)


def _peak_of_this_process(
    problem: UpdateProblem, settings: Mapping[str, Any], updates: int
) -> int | None:
    """Measure in this process what `peak_update_bytes` returns.

    Restarts the kernel's peak counter of the process before the updates, where /proc permits it.

    Args:
        problem: Sizes of the update.
        settings: Fields of `AlgorithmConfig` that replace the defaults and the sizes.
        updates: Number of updates to make.

    Returns:
        Peak after the updates less the memory before them [bytes]. None where /proc does not give
        both.
    """
    tiny = dataclasses.replace(problem, width=8, batch=16, transitions=100)
    tiny.learner({**settings, "hidden_sizes": (8, 8), "batch_size": 16}).step(
        tiny.buffer().sample(16, np.random.default_rng(0))
    )
    learner = problem.learner(settings)
    replay = dataclasses.replace(problem, transitions=1000).buffer()
    rng = np.random.default_rng(0)
    if RESET_PEAK.exists():
        RESET_PEAK.write_text("5")  # proc(5): VmHWM restarts from VmRSS
    before = _status_bytes("VmRSS")
    for _ in range(updates):
        learner.step(replay.sample(learner.config.batch_size, rng))
    after = _status_bytes("VmHWM")
    return None if before is None or after is None else after - before


def _main() -> None:
    """Run the child process of `peak_update_bytes`: read its request, a JSON object, from the
    command line and print the increase [bytes] or null as JSON.
    """
    import torch

    request = json.loads(sys.argv[1])
    torch.set_num_threads(request["threads"])
    print(
        json.dumps(
            _peak_of_this_process(
                UpdateProblem(**request["problem"]), request["settings"], request["updates"]
            )
        )
    )


if __name__ == "__main__":
    _main()
