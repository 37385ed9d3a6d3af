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
from sql_ros.runs.plots import draw
from sql_ros.runs.progress import RunProgress

NOT_REPEATED = ("task", "run_dir", "resume", "policy", "most_transitions")  # by the command that continues a run


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
    draws: bool = True,
) -> dict[str, float]:
    """Write curves.png, arm.png, figures.json and report.md; without matplotlib no pictures.

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
        draws: whether there is time for pictures.

    Returns:
        The figures.
    """
    pictures = _pictures(run_dir, task, progress, policy, seed) if draws else ["No pictures: there was no time for them."]
    figures = figures_of(progress, evaluation)
    write_figures(run_dir / "figures.json", figures, seed, command)
    text = _text(
        task, progress, policy, evaluation, figures, source or task.name, command, seed, evaluation_seed, ending, pictures
    )
    (run_dir / "report.md").write_text(text)
    return figures


def _pictures(run_dir: Path, task: Task, progress: RunProgress, policy: Policy | None, seed: int) -> list[str]:
    """Draw arm.png and curves.png; return what the report shows of each."""
    title = f"{task.spec.task}, seed {seed}"
    return [
        _arm_picture(policy, *draw(lambda: draw_arm(task, policy, run_dir / "arm.png", seed))),
        _curves_picture(*draw(lambda: draw_curves(progress, run_dir / "curves.png", title))),
    ]


def figures_of(progress: RunProgress, evaluation: Evaluation | None) -> dict[str, float]:
    """Return the figures of a run.

    On a real arm `real_*` count the episodes of the arm, and the figures of the evaluation, which is
    simulated, are called `simulated_*`.
    """
    episodes, successes = len(progress.episodes), progress.successes
    figures = {
        "robot_minutes": progress.robot_minutes,
        "wall_s": progress.wall_s,
        "transitions": float(progress.transitions),
        "updates": float(progress.updates),
        "updates_per_s": progress.mean_updates_per_s,
    }
    evaluated = evaluation.figures() if evaluation is not None else {}
    if not progress.real_arm:
        return {**figures, "training_episodes": float(episodes), "success_rate": 0.0, **evaluated}
    real = {
        "real_episodes": float(episodes),
        "real_successes": float(successes),
        "real_success_rate": successes / episodes if episodes else 0.0,
    }
    return {**figures, **real, **{f"simulated_{name}": value for name, value in evaluated.items()}}


def continuing(command: str, source: str) -> str:
    """Return the command that continues a training: with the launch arguments of its own command.

    Args:
        command: That began it.
        source: Task, as `task:=` takes it.
    """
    kept = [word for word in shlex.split(command) if ":=" in word and word.split(":=")[0] not in NOT_REPEATED]
    words = ["sql-ros up sawyer_stack", f"task:={shlex.quote(source)}", *map(shlex.quote, kept)]
    return " ".join([*words, "run_dir:=<this folder> resume:=true"])


def _arm_picture(policy: Policy | None, is_drawn: bool, how: str) -> str:
    if not is_drawn:
        return f"No picture of the arm: {how}."
    when = "end" if policy else "start"
    about = f"The arm at the {when} of a simulated episode, the path of its tool and its goal ({how})."
    return f"![the arm](arm.png)\n\n{about}"


def _curves_picture(is_drawn: bool, why: str) -> str:
    return "![learning curves](curves.png)" if is_drawn else f"No learning curves: {why}."


def _result(progress: RunProgress, evaluation: Evaluation | None) -> str:
    """Return what the arm reached, and what its policy reached in evaluation."""
    sentences = []
    if progress.real_arm:
        reached, total = progress.successes, len(progress.episodes)
        sentences.append(f"The real arm reached the goal in **{reached} of {total}** episodes.")
    if evaluation is None:
        return " ".join([*sentences, "The policy was not evaluated."])
    kind = "simulated evaluation" if progress.real_arm else "evaluation"
    reached, total = sum(evaluation.successes), len(evaluation.successes)
    how = "deterministic mode; the same episodes decided which policy is kept"
    sentences.append(f"**{reached} of {total}** {kind} episodes reached the goal ({how}).")
    return " ".join(sentences)


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
    pictures: list[str],
) -> str:
    result = _result(progress, evaluation)
    source_word = shlex.quote(source)
    shown = "\n\n".join(pictures)
    acting = f"version {policy.info.version}, {policy.info.updates} updates, SHA-256 {policy.info.sha256}" if policy else "none yet"
    table = "\n".join(f"| {name} | {value:.6g} |" for name, value in figures.items())
    version_rows = "\n".join(f"| {name} | {value} |" for name, value in versions().items())
    faults = ", ".join(f"{kind}: {count}" for kind, count in sorted(progress.faults.items())) or "none"
    return f"""# {task.spec.task}, seed {seed}

{result} {ending}

{shown}

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

Beside this file: `policy.onnx` (evaluate it again: `sql-ros eval --policy policy.onnx --task {source_word} --episodes 100 --seed {evaluation_seed}`),
`checkpoints/` (continue: `{continuing(command, source)}`), `metrics.jsonl`, `figures.json`, `log/`.
"""
