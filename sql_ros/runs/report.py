"""What a run leaves behind: report.md with its pictures, figures.json, and the policy; `runs/latest` points to the newest run."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from sql_ros.core.policy import Policy
from sql_ros.robot.task import Task
from sql_ros.runs.curves import draw_curves
from sql_ros.runs.evaluation import Evaluation
from sql_ros.runs.figures import versions, write_figures
from sql_ros.runs.picture import draw_arm
from sql_ros.runs.progress import RunProgress


def point_latest(run_dir: Path) -> None:
    """Lets `latest` beside a run's folder point to it; a run whose own name is latest stays as it is."""
    if run_dir.name == "latest":
        return
    draft = run_dir.parent / f".latest-{os.getpid()}"
    draft.unlink(missing_ok=True)
    draft.symlink_to(run_dir.name)
    latest = run_dir.parent / "latest"
    if latest.is_dir() and not latest.is_symlink():
        draft.unlink()  # somebody's own folder of that name stays
        return
    draft.replace(latest)


def keep_policy(policy: Policy, path: Path) -> None:
    """Writes a policy's file; the one that is there, of an earlier session, stays where the disk does not take it all.

    Raises:
        OSError: it does not.
    """
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        draft.write_bytes(policy.data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_report(
    run_dir: Path,
    task: Task,
    progress: RunProgress,
    policy: Policy | None,
    evaluation: Evaluation | None,
    *,
    command: str,
    seed: int,
    evaluation_seed: int,
    ending: str,
    source: str = "",
) -> dict[str, float]:
    """Writes curves.png, arm.png, figures.json and report.md.

    Args:
        run_dir: where.
        task: the task.
        progress: of the run.
        policy: in policy.onnx; None: the run ended before there was one.
        evaluation: of this policy, if it was evaluated.
        command: to repeat the run.
        seed: of the run.
        evaluation_seed: of the evaluation episodes.
        ending: why it ended, a sentence.
        source: path of the task's file; empty: it is the one of its name in config/tasks/.

    Returns:
        The figures.
    """
    draw_curves(progress, run_dir / "curves.png", f"{task.spec.task}, seed {seed}")
    picture = draw_arm(task, policy, run_dir / "arm.png", seed)
    figures = {
        "robot_minutes": progress.robot_minutes,
        "wall_s": progress.wall_s,
        "transitions": float(progress.transitions),
        "updates": float(progress.updates),
        "updates_per_s": progress.mean_updates_per_s,
        "training_episodes": float(len(progress.episodes)),
        "success_rate": 0.0,
    }
    if evaluation is not None:
        figures.update(evaluation.figures())
    write_figures(run_dir / "figures.json", figures, seed, command)
    text = _text(task, progress, policy, evaluation, figures, shlex.quote(source or task.name), command, seed, evaluation_seed, ending, picture)
    (run_dir / "report.md").write_text(text)
    return figures


def _text(
    task: Task,
    progress: RunProgress,
    policy: Policy | None,
    evaluation: Evaluation | None,
    figures: dict[str, float],
    source: str,
    command: str,
    seed: int,
    evaluation_seed: int,
    ending: str,
    picture: str,
) -> str:
    result = "The policy was not evaluated."
    if evaluation is not None:
        reached, total = sum(evaluation.successes), len(evaluation.successes)
        result = f"**{reached} of {total}** evaluation episodes reached the goal (deterministic mode; the same episodes decided which policy is kept)."
    acting = f"version {policy.info.version}, {policy.info.updates} updates, SHA-256 {policy.info.sha256}" if policy else "none yet"
    table = "\n".join(f"| {name} | {value:.6g} |" for name, value in figures.items())
    version_rows = "\n".join(f"| {name} | {value} |" for name, value in versions().items())
    faults = ", ".join(f"{kind}: {count}" for kind, count in sorted(progress.faults.items())) or "none"
    return f"""# {task.spec.task}, seed {seed}

{result} {ending}

![the arm](arm.png)

The arm at the {'end' if policy else 'start'} of an episode, the path of its tool and its goal ({picture}).

![learning curves](curves.png)

    {command}

| figure | value |
|---|---|
{table}

- policy: {acting}
- robot time counts every control step, the ways to the start poses included, at {task.config.control_rate_hz:g} Hz
- faults counted by the nodes: {faults}

| version of | |
|---|---|
{version_rows}

Beside this file: `policy.onnx` (evaluate it again: `sql-ros eval --policy policy.onnx --task {source} --episodes 100 --seed {evaluation_seed}`),
`checkpoints/` (continue: `sql-ros up sawyer_stack task:={source} run_dir:=<this folder> resume:=true`), `metrics.jsonl`, `figures.json`, `log/`.
"""
