"""The ablation: a run of every contender on every environment with every seed.

Each run leaves a file, so an ablation can be interrupted and continued.

``sql-ros experiment ablation --out DIR --jobs 2``
"""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sql_ros.common.errors import ConfigError
from sql_ros.common.figures_json import versions
from sql_ros.experiments.ablation_plan import AblationRun, plan
from sql_ros.experiments.baselines import train_baseline
from sql_ros.experiments.contenders import CONTENDERS, settings
from sql_ros.experiments.curve import Curve, CurveRecorder
from sql_ros.experiments.gym_task import opened_env
from sql_ros.experiments.gym_training import train
from sql_ros.experiments.workers import make_side_by_side, write_json
from sql_ros.learning import learner

# hash of the code in learning/ at the start of this process: the report says if runs of different
# code are compared
CORE_SHA256 = hashlib.sha256(
    b"".join(path.read_bytes() for path in sorted(Path(learner.__file__).parent.rglob("*.py")))
).hexdigest()[:12]


def run(out: Path, jobs: int, runs: list[AblationRun] | None = None) -> list[str]:
    """Make the runs that have no file yet, in worker processes of one thread each.

    A line is printed for each run. A failed run does not end the others.

    Args:
        out: Folder of the ablation; each run writes `AblationRun.path`.
        jobs: Number of worker processes; each imports everything at its start.
        runs: Runs from `plan`; None: all runs that `plan` returns by default.

    Returns:
        A text for each failed run, with its exception; empty if none failed.

    Raises:
        ConfigError: `jobs` is below 1, or the folder has a run of another length.
    """
    runs = plan() if runs is None else runs
    baselines = any(CONTENDERS[item.contender].method in ("sac", "ddpg") for item in runs)
    return make_side_by_side(
        partial(_make, out=out),
        runs,
        partial(_is_made, out=out),
        jobs,
        name_of=lambda item: f"{item.env} | {item.contender} | seed {item.seed}",
        steps_of=lambda item: item.problem.steps,
        imports=["stable_baselines3"] if baselines else [],
    )


def _is_made(item: AblationRun, out: Path) -> bool:
    """Return whether a run has a file.

    Args:
        item: The run.
        out: Folder of the ablation.

    Raises:
        ConfigError: The file is of a run of another length, which cannot be compared with others.
    """
    path = item.path(out)
    if not path.is_file():
        return False
    steps = json.loads(path.read_text())["curve"]["steps"][-1]
    if steps != item.problem.steps:
        raise ConfigError(
            f"{path} holds a run of {steps} transitions, expected {item.problem.steps}: choose"
            " another --out or remove it"
        )
    return True


def _make(item: AblationRun, out: Path) -> str:
    """Make a run and write its file, `AblationRun.path`.

    The file has "env", "contender", "method", "seed", "evaluation_episodes", the options
    ("algorithm", "trainer"), "versions", "core_sha256" and "curve" (a `Curve` as a dict).

    Args:
        item: The run.
        out: Folder of the ablation.

    Returns:
        The final return, the training time and the updates per second, as text.
    """
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


def make_curve(item: AblationRun) -> Curve:
    """Train the contender of a run on its environment, by its method, without writing a file.

    The method is "soft_q" (this library), "sac" or "ddpg" (stable-baselines3), or "uniform", which
    trains nothing.

    Args:
        item: The run.

    Returns:
        The learning curve.
    """
    contender, problem = CONTENDERS[item.contender], item.problem
    algorithm, pace = settings(contender, problem)
    points: dict[str, Any] = {
        "evaluate_every": problem.evaluate_every,
        "evaluation_episodes": problem.evaluation_episodes,
    }
    if contender.method == "uniform":
        return _uniform_curve(item)
    if contender.method == "soft_q":
        return train(item.env, problem.steps, item.seed, algorithm, pace, **points)
    return train_baseline(
        contender.method, item.env, problem.steps, item.seed, algorithm, pace, **points
    )


def _uniform_curve(item: AblationRun) -> Curve:
    """Evaluate uniform actions; return a curve of one point, at the number of transitions of the
    run, because nothing is learned.
    """
    rng = np.random.default_rng(item.seed)
    with opened_env(item.env) as env:
        recorder = CurveRecorder(env, item.problem.evaluation_episodes)
        recorder.add(
            item.problem.steps,
            0,
            lambda _: rng.uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32),
        )
    return recorder.curve
