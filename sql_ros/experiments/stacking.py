"""Stacking: soft Q-learning beside SAC and DDPG, success against minutes of robot time.

Robot time counts every control step, and the time between two episodes: the release, the way back
to a start pose and the rest there. The time between two episodes is measured once, with the actor
and the simulated arm, and is the same for every method.

The settings of soft Q-learning are those of the stack (config/sawyer_stack.yaml and
config/params/sawyer_stack.yaml). SAC and DDPG take the options that they share, see `baselines.py`.
A run ends early when it has converged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from sql_ros.common.config import config_from_mapping
from sql_ros.common.figures_json import versions
from sql_ros.experiments.baselines import export_baseline, train_baseline
from sql_ros.experiments.curve import Curve
from sql_ros.experiments.gym_training import train
from sql_ros.experiments.workers import make_side_by_side, write_json
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.learning.trainer import Trainer
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.tasks import load_task
from sql_ros.runs.rollout import SimulatedArm
from sql_ros.stack.description import sawyer_stack

TASK, ENV = "sawyer_stack", "sql_ros/SawyerStack-v0"
METHODS = {
    "sql": "soft Q-learning",
    "sac": "SAC",
    "ddpg": "DDPG",
    "sql-late": "soft Q-learning, commands late",
}
# commands are late by one control step in half of the episodes
LATE_ENV = "sql_ros/SawyerStack-late-v0"
CONSISTENT = 0.95
EVALUATION_EPISODES, EVALUATION_FIRST = 100, 10


class EpisodeLog(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A wrapper that records which training episodes succeeded.

    Args:
        env: The environment.
        log: List to which (steps of this environment so far, success) is added at the end of each
            episode.
    """

    def __init__(self, env: Any, log: list[tuple[int, bool]]) -> None:
        super().__init__(env)
        self._log, self._made = log, 0

    def step(self, action: Any) -> Any:
        """Make a step of the environment; if the episode ends, log its success.

        Returns:
            The result of the environment: observation, reward, terminated, truncated and info.
        """
        result = self.env.step(action)
        self._made += 1
        if result[2] or result[3]:
            self._log.append((self._made, bool(result[4]["is_success"])))
        return result


@dataclass
class RunResult:
    """The content of the file of a run.

    Attributes:
        method: Key of `METHODS`.
        seed: Seed of the run.
        overhead_s: Robot time between two episodes [s].
        episode_steps: Control steps of an episode.
        control_rate_hz: Control rate of the task [Hz].
        episodes: Transitions so far and success, at the end of each training episode.
        curve: The learning curve, a `Curve` as a dict.
        versions: Versions of the packages that the run was made with, by name.
    """

    method: str
    seed: int
    overhead_s: float
    episode_steps: int
    control_rate_hz: float
    episodes: list[tuple[int, bool]] = field(default_factory=list)
    curve: dict[str, list[float]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=versions)

    def minutes(self, transitions: float) -> float:
        """Return the robot time after a number of transitions, overhead included [min]."""
        return (
            transitions * (1.0 / self.control_rate_hz + self.overhead_s / self.episode_steps) / 60.0
        )

    def milestones(self) -> dict[str, float]:
        """Return the robot time of three milestones [min], infinity for one that was not reached.

        Returns:
            "first_success_min": the first success in training. "consistent_min": the first
            evaluation with at least 95 successes of 100. "converged_min": the second of two
            evaluations in a row with 100 of 100. Evaluations that were cut short do not count.
        """
        first = next(
            (self.minutes(made) for made, success in self.episodes if success), float("inf")
        )
        full = [
            share if count == EVALUATION_EPISODES else 0.0
            for share, count in zip(self.curve["successes"], self.curve["episodes"])
        ]
        at = [self.minutes(made) for made in self.curve["steps"]]
        consistent = next(
            (minute for minute, share in zip(at, full) if share >= CONSISTENT), float("inf")
        )
        both = (
            minute
            for minute, before, share in zip(at[1:], full, full[1:])
            if before == share == 1.0
        )
        return {
            "first_success_min": first,
            "consistent_min": consistent,
            "converged_min": next(both, float("inf")),
        }


def make_runs(
    out: Path, methods: list[str], seeds: list[int], steps: int, evaluate_every: int, jobs: int
) -> list[str]:
    """Make the runs that have no file yet, in worker processes; print a line for each.

    The files are `out`/runs/METHOD-seedSEED.json. The robot time between two episodes is measured
    first, unless every run has a file.

    Args:
        out: Folder of the experiment.
        methods: Keys of `METHODS`.
        seeds: Seeds of the runs of each method.
        steps: Most transitions per run.
        evaluate_every: Transitions between two evaluations.
        jobs: Number of worker processes, of one thread each.

    Returns:
        A text for each failed run, with its exception; empty if none failed.

    Raises:
        ConfigError: `jobs` is below 1.
    """
    runs = [(method, seed) for seed in seeds for method in methods]
    overhead_s = 0.0 if all(_file(out, *run).is_file() for run in runs) else measure_overhead()
    make = partial(
        make_run, out=out, steps=steps, evaluate_every=evaluate_every, overhead_s=overhead_s
    )
    return make_side_by_side(
        make,
        runs,
        lambda run: _file(out, *run).is_file(),
        jobs,
        name_of=lambda run: f"{run[0]} seed {run[1]}",
    )


def measure_overhead() -> float:
    """Measure the robot time between two episodes: the mean of ten simulated ones [s].

    Actions are uniform.
    """
    task = load_task(TASK)
    actor, arm = Actor(task, seed=0), SimulatedArm(task)
    beside: list[int] = []
    while len(beside) < 10:
        summary = arm.follow(actor).summary
        if summary is not None:
            beside.append(summary.robot_steps - summary.steps)
    return float(np.mean(beside)) / task.config.control_rate_hz


def make_run(
    run: tuple[str, int],
    out: Path,
    steps: int,
    evaluate_every: int,
    overhead_s: float,
    episodes: int = EVALUATION_EPISODES,
) -> str:
    """Make a run, and write its file and its policy, `out`/runs/METHOD-seedSEED.json and .onnx.

    At each evaluation a line is printed, and the policy replaces the one before. The file is
    written at the end of the run.

    Args:
        run: Method and seed.
        out: Folder of the experiment.
        steps: Most transitions; a run that has converged ends early.
        evaluate_every: Transitions between two evaluations.
        overhead_s: Robot time between two episodes, from `measure_overhead` [s].
        episodes: Episodes per evaluation.

    Returns:
        The milestones, as text.
    """
    method, seed = run
    task = load_task(TASK)
    result = RunResult(method, seed, overhead_s, task.episode_steps, task.config.control_rate_hz)
    path = _file(out, method, seed)
    algorithm, pace = settings()

    def progress(trainer: Any, curve: Curve) -> bool:
        """Print a line and write the policy; return whether the run has converged.

        Args:
            trainer: The trainer, or the model of stable-baselines3.
            curve: Curve with the newest point.
        """
        minutes = result.minutes(curve.steps[-1])
        share = f"{curve.successes[-1]:.2f} of {curve.episodes[-1]}"
        print(
            f"{method} seed {seed}: {minutes:.1f} min, return {curve.returns[-1]:.1f}, success"
            f" {share}",
            flush=True,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        policy = (
            trainer.export()
            if isinstance(trainer, Trainer)
            else export_baseline(trainer, task.spec)
        )
        path.with_suffix(".onnx").write_bytes(policy)
        result.curve = curve.as_dict()
        return bool(np.isfinite(result.milestones()["converged_min"]))

    points: dict[str, Any] = {
        "evaluate_every": evaluate_every,
        "evaluation_episodes": episodes,
        "evaluate_first": EVALUATION_FIRST,
        "progress": progress,
        "wrap": partial(EpisodeLog, log=result.episodes),
    }
    if method.startswith("sql"):
        train(LATE_ENV if method == "sql-late" else ENV, steps, seed, algorithm, pace, **points)
    else:
        train_baseline(method, ENV, steps, seed, algorithm, pace, **points)
    content = {**vars(result), "algorithm": algorithm.as_dict(), "trainer": pace.as_dict()}
    write_json(path, content)
    return str(result.milestones())


def settings() -> tuple[AlgorithmConfig, TrainerConfig]:
    """Return the options of learner and trainer that the stack has for this task."""
    (learner,) = (p for p in sawyer_stack({"task": TASK}).processes if p.executable == "learner")
    chosen: dict[str, dict[str, Any]] = {"algorithm": {}, "trainer": {}}
    for name, value in learner.parameters.items():
        section, _, key = name.partition(".")
        if section in chosen and key:
            chosen[section][key] = value
    source = f"parameters of task {TASK}"
    return (
        config_from_mapping(AlgorithmConfig, chosen["algorithm"], source),
        config_from_mapping(TrainerConfig, chosen["trainer"], source),
    )


def read_runs(out: Path) -> list[RunResult]:
    """Read the finished runs in the folder of the experiment, sorted by file name.

    Entries of a file that are no field of `RunResult` are left out.
    """
    runs = []
    for path in sorted((out / "runs").glob("*.json")):
        content = json.loads(path.read_text())
        names = RunResult.__dataclass_fields__
        runs.append(RunResult(**{name: value for name, value in content.items() if name in names}))
    return runs


def _file(out: Path, method: str, seed: int) -> Path:
    return out / "runs" / f"{method}-seed{seed}.json"
