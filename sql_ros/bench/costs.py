"""What surrounds an update: drawing a batch, adding a transition, and memory."""

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

from sql_ros.bench.contenders import Problem
from sql_ros.core.errors import ConfigError
from sql_ros.core.replay import ReplayBuffer, Transition

FULL_SIZE = 1_000_000  # transitions, the default capacity of the trainer
LOWER_THE_MARK = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class BufferCosts:
    """Of a full replay buffer of a million transitions: time of one call [s], and memory [bytes]."""

    sample_seconds: float
    add_seconds: float
    nbytes: int


def buffer_costs(
    batch: int = 256, observation_size: int = 20, action_size: int = 7, capacity: int = FULL_SIZE, repeats: int = 7, seed: int = 0
) -> BufferCosts:
    """Times `sample(batch)` and `add` of a full buffer, medians over `repeats`."""
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
    replay.restore({name: np.broadcast_to(value, (capacity, *np.shape(value))) for name, value in rows.items()}, capacity)
    transition = Transition(row, action, 0.0, row, False, False)
    return BufferCosts(
        _median_seconds(lambda: replay.sample(batch, rng), 200, repeats),
        _median_seconds(lambda: replay.add(transition), 2000, repeats),
        replay.nbytes,
    )


def _median_seconds(call: Callable[[], Any], calls: int, repeats: int) -> float:
    samples = []
    for _ in range(repeats + 1):  # the first one warms up
        start = time.perf_counter()
        for _ in range(calls):
            call()
        samples.append((time.perf_counter() - start) / calls)
    return statistics.median(samples[1:])


def peak_update_bytes(problem: Problem, settings: Mapping[str, Any], threads: int = 2, updates: int = 10) -> int | None:
    """By how much the first updates of a learner raise the resident memory at its highest, optimiser state included [bytes].

    Asked of a process of its own, after a tiny learner has loaded every library. `ru_maxrss` would not do: a child inherits its parent's.

    Returns:
        None where /proc does not say.

    Raises:
        ConfigError: the process failed.
    """
    request = {"problem": dataclasses.asdict(problem), "settings": dict(settings), "threads": threads, "updates": updates}
    command = [sys.executable, "-m", "sql_ros.bench.costs", json.dumps(request)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ConfigError(f"measuring memory failed: {result.stderr.strip() or 'exit code ' + str(result.returncode)}")
    peak: int | None = json.loads(result.stdout.splitlines()[-1])
    return peak


def _status_bytes(key: str) -> int | None:
    """VmRSS or VmHWM (its highest so far) of this process."""
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(key)), None)


def _peak_of_this_process(problem: Problem, settings: Mapping[str, Any], updates: int) -> int | None:
    tiny = dataclasses.replace(problem, width=8, batch=16, transitions=100)
    tiny.learner({**settings, "hidden_sizes": (8, 8), "batch_size": 16}).step(tiny.buffer().sample(16, np.random.default_rng(0)))
    learner = problem.learner(settings)
    replay, rng = dataclasses.replace(problem, transitions=1000).buffer(), np.random.default_rng(0)
    if LOWER_THE_MARK.exists():
        LOWER_THE_MARK.write_text("5")  # proc(5): VmHWM starts again from what is resident now
    before = _status_bytes("VmRSS")
    for _ in range(updates):
        learner.step(replay.sample(learner.config.batch_size, rng))
    after = _status_bytes("VmHWM")
    return None if before is None or after is None else after - before


def _main() -> None:
    import torch

    request = json.loads(sys.argv[1])
    torch.set_num_threads(request["threads"])
    print(json.dumps(_peak_of_this_process(Problem(**request["problem"]), request["settings"], request["updates"])))


if __name__ == "__main__":
    _main()
