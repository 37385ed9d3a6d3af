"""The ablation: every contender on every environment with every seed, each run a file of its own, so that it can stop and go on.

``python -m sql_ros.experiments.ablation --out DIR --jobs 2``
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sql_ros.core import learner
from sql_ros.core.errors import ConfigError
from sql_ros.core.memory import keep_freed_memory
from sql_ros.experiments.ablation_plan import Run, plan
from sql_ros.experiments.baselines import train_baseline
from sql_ros.experiments.contenders import CONTENDERS, settings
from sql_ros.experiments.curve import Curve, CurveRecorder
from sql_ros.experiments.gym_task import make_env
from sql_ros.experiments.gym_training import train
from sql_ros.runs.figures import versions

# of the learner's code as it was when this process began: results of different code should not be compared unawares
CORE_SHA256 = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(learner.__file__).parent.glob("*.py")))).hexdigest()[:12]


def run(out: Path, jobs: int, runs: list[Run] | None = None) -> list[str]:
    """Makes the runs that have no file yet, in worker processes of one thread each; prints a line for each.

    Args:
        out: folder of the results.
        jobs: worker processes; each imports everything at its start and lives to the end.
        runs: from `plan`; None: all.

    Returns:
        What went wrong, one line for each failed run; the others are not disturbed by it.

    Raises:
        ConfigError: no worker, or the folder holds a run of another length.
    """
    if jobs < 1:
        raise ConfigError(f"{jobs} worker processes, expected 1 or more")
    runs = plan() if runs is None else runs
    missing = [item for item in runs if not _is_made(item, out)]
    print(f"{len(missing)} of {len(runs)} runs to make, {jobs} at a time", flush=True)
    failures: list[str] = []
    if not missing:
        return failures
    eta = Eta(sum(item.problem.steps for item in missing))
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_prepare, initargs=(_methods(missing),)) as pool:
        futures: dict[Future[str], Run] = {pool.submit(_make, item, out): item for item in missing}
        for count, future in enumerate(as_completed(futures), start=1):
            item, error = futures[future], future.exception()
            name = f"{item.env} | {item.contender} | seed {item.seed}"
            text = f"failed: {error!r}" if error else future.result()
            if error:
                failures.append(f"{name}: {error!r}")
            print(f"{count}/{len(missing)} {name} | {text} | {eta.minutes_left(item.problem.steps):.0f} min left", flush=True)
    return failures


class Eta:
    """Guesses the time left from the transitions made so far."""

    def __init__(self, steps: int) -> None:
        self._began, self._made, self._steps = time.monotonic(), 0, steps

    def minutes_left(self, made: int) -> float:
        """After so many transitions more [min]."""
        self._made += made
        return (time.monotonic() - self._began) / self._made * (self._steps - self._made) / 60.0


def _is_made(item: Run, out: Path) -> bool:
    """Whether its file is there; one of another length must not be mixed in."""
    path = item.path(out)
    if not path.is_file():
        return False
    steps = json.loads(path.read_text())["curve"]["steps"][-1]
    if steps != item.problem.steps:
        raise ConfigError(f"{path} holds a run of {steps} transitions, expected {item.problem.steps}: choose another --out or remove it")
    return True


def _methods(runs: list[Run]) -> set[str]:
    return {CONTENDERS[item.contender].method for item in runs}


def _prepare(methods: set[str]) -> None:
    """Start of a worker: one thread, and everything imported that a run imports late."""
    keep_freed_memory()
    torch.set_num_threads(1)
    if methods & {"sac", "ddpg"}:
        import stable_baselines3  # noqa: F401


def _make(item: Run, out: Path) -> str:
    """One run, from nothing to its file; returns a line on it."""
    curve = make_curve(item)
    contender, problem = CONTENDERS[item.contender], item.problem
    algorithm, pace = settings(contender, problem)
    content = {
        "env": item.env,
        "contender": item.contender,
        "method": contender.method,
        "seed": item.seed,
        "evaluation_episodes": problem.evaluation_episodes,
        "algorithm": algorithm.as_dict(),
        "trainer": pace.as_dict(),
        "versions": versions(),
        "core_sha256": CORE_SHA256,
        "curve": curve.as_dict(),
    }
    write_json(item.path(out), content)
    rate = curve.updates[-1] / max(curve.train_s[-1], 1e-9)
    return f"return {curve.returns[-1]:.4g} in {curve.train_s[-1]:.0f} s, {rate:.0f} updates/s"


def make_curve(item: Run) -> Curve:
    """Trains one contender."""
    contender, problem = CONTENDERS[item.contender], item.problem
    algorithm, pace = settings(contender, problem)
    points: dict[str, Any] = {"evaluate_every": problem.evaluate_every, "evaluation_episodes": problem.evaluation_episodes}
    if contender.method == "uniform":
        return _uniform_curve(item)
    if contender.method == "soft_q":
        return train(item.env, problem.steps, item.seed, algorithm, pace, **points)
    return train_baseline(contender.method, item.env, problem.steps, item.seed, algorithm, pace, **points)


def _uniform_curve(item: Run) -> Curve:
    """Random actions: one point, since nothing is learned."""
    env, rng = make_env(item.env), np.random.default_rng(item.seed)
    recorder = CurveRecorder(env, item.problem.evaluation_episodes)
    recorder.add(item.problem.steps, 0, lambda _: rng.uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32))
    return recorder.curve


def write_json(path: Path, content: dict[str, Any], indent: int | None = 1) -> None:
    """Writes a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.part")
    partial.write_text(json.dumps(content, indent=indent) + "\n")
    partial.replace(path)
