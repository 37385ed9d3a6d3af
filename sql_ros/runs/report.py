"""The results of a run: report.md and .html, pictures, figures.json, policy.onnx, link `latest`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from sql_ros.common.atomic_file import write_atomically
from sql_ros.common.figures_json import versions, write_figures
from sql_ros.common.html_report import write_html
from sql_ros.common.markdown import markdown_table
from sql_ros.common.plotting import try_plot
from sql_ros.policy.runtime import Policy
from sql_ros.robot.task import Task
from sql_ros.runs.curves import plot_curves
from sql_ros.runs.evaluation import Evaluation
from sql_ros.runs.picture import draw_arm
from sql_ros.runs.progress import RunProgress

# launch arguments that the command to continue a run does not take over
NOT_REPEATED = ("task", "run_dir", "resume", "policy", "most_transitions")


def point_latest(run_dir: Path) -> None:
    """Make the symbolic link `latest` beside a run folder point to the folder.

    Nothing is done if the run folder itself is called `latest`, or if `latest` is a real folder.

    Args:
        run_dir: Run folder.

    Raises:
        OSError: The link cannot be made.
    """
    if run_dir.name == "latest":
        return
    draft = run_dir.parent / f".latest-{os.getpid()}"
    draft.unlink(missing_ok=True)
    draft.symlink_to(run_dir.name)
    latest = run_dir.parent / "latest"
    if latest.is_dir() and not latest.is_symlink():
        draft.unlink()  # a user's own folder of this name stays
        return
    draft.replace(latest)


def keep_policy(policy: Policy, path: Path) -> None:
    """Write a policy file atomically.

    Args:
        policy: The policy.
        path: Path of the file.

    Raises:
        OSError: The file cannot be written; an earlier one stays.
    """
    write_atomically(path, policy.data)


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
    """Write report.md, report.html, figures.json, curves.png and arm.png.

    If a picture cannot be drawn, the report says why.

    Args:
        run_dir: Run folder, which exists.
        task: The task.
        progress: Progress of the run.
        policy: The policy in policy.onnx; None: the run ended before there was one.
        evaluation: Evaluation of this policy; None: it was not evaluated.
        command: Command that repeats the run.
        seed: Seed of the run.
        evaluation_seed: Seed of the evaluation episodes.
        ending: Why the run ended, as a sentence.
        source: Path of the task's file; empty: the file of its name in config/tasks/.
        draws: Whether there is time to draw pictures.

    Returns:
        The figures in figures.json, by name.

    Raises:
        OSError: A file cannot be written.
    """
    pictures = (
        _pictures(run_dir, task, progress, policy, seed)
        if draws
        else ["No pictures: there was no time for them."]
    )
    figures = figures_of(progress, evaluation)
    write_figures(run_dir / "figures.json", figures, seed, command)
    text = _text(
        task,
        progress,
        policy,
        evaluation,
        figures,
        source or task.name,
        command,
        seed,
        evaluation_seed,
        ending,
        pictures,
    )
    (run_dir / "report.md").write_text(text)
    write_html(run_dir / "report.md")
    return figures


def _pictures(
    run_dir: Path, task: Task, progress: RunProgress, policy: Policy | None, seed: int
) -> list[str]:
    """Draw arm.png and curves.png.

    Args:
        run_dir: Run folder.
        task: The task.
        progress: Progress of the run.
        policy: Policy that acts in arm.png; None: the arm rests at its start pose.
        seed: Seed of the run.

    Returns:
        The Markdown of each picture, or a sentence why it is missing.
    """
    title = f"{task.spec.task}, seed {seed}"
    return [
        _arm_picture(policy, *try_plot(lambda: draw_arm(task, policy, run_dir / "arm.png", seed))),
        _curves_picture(*try_plot(lambda: plot_curves(progress, run_dir / "curves.png", title))),
    ]


def figures_of(progress: RunProgress, evaluation: Evaluation | None) -> dict[str, float]:
    """Return the figures of a run by name.

    Always: "robot_minutes", "wall_s", "transitions", "updates", "updates_per_s". Simulated arm:
    "training_episodes", and the figures of `Evaluation.figures`. Real arm:
    "real_episodes", "real_successes" and "real_success_rate" of its episodes, and the figures of
    the evaluation, which is simulated, as `simulated_*`.

    Args:
        progress: Progress of the run.
        evaluation: Evaluation of the policy; None: it was not evaluated, so it has no figures.
    """
    episodes = len(progress.episodes)
    successes = progress.successes
    figures = {
        "robot_minutes": progress.robot_minutes,
        "wall_s": progress.wall_s,
        "transitions": float(progress.transitions),
        "updates": float(progress.updates),
        "updates_per_s": progress.mean_updates_per_s,
    }
    evaluated = evaluation.figures() if evaluation is not None else {}
    if not progress.real_arm:
        return {**figures, "training_episodes": float(episodes), **evaluated}
    real = {
        "real_episodes": float(episodes),
        "real_successes": float(successes),
        "real_success_rate": successes / episodes if episodes else 0.0,
    }
    return {**figures, **real, **{f"simulated_{name}": value for name, value in evaluated.items()}}


def continuing(command: str, source: str) -> str:
    """Return the command that continues a training.

    The command has the launch arguments of the first command, without those in `NOT_REPEATED`.

    Args:
        command: Command that began the training.
        source: Name or path of the task, as `task:=` takes it.
    """
    kept = [
        word
        for word in shlex.split(command)
        if ":=" in word and word.split(":=")[0] not in NOT_REPEATED
    ]
    words = ["sql-ros up sawyer_stack", f"task:={shlex.quote(source)}", *map(shlex.quote, kept)]
    return " ".join([*words, "run_dir:=<this folder> resume:=true"])


def _arm_picture(policy: Policy | None, is_drawn: bool, how: str) -> str:
    """Return the Markdown of arm.png, or a sentence why it is missing.

    Args:
        policy: Policy that acted in the picture; None: the arm rests at its start pose.
        is_drawn: Whether the picture was drawn.
        how: How the picture was made, or why it is missing.
    """
    if not is_drawn:
        return f"No picture of the arm: {how}."
    when = "end" if policy else "start"
    about = (
        f"The arm at the {when} of a simulated episode, the path of its tool and its goal ({how})."
    )
    return f"![the arm](arm.png)\n\n{about}"


def _curves_picture(is_drawn: bool, why: str) -> str:
    """Return the Markdown of curves.png, or a sentence why it is missing."""
    return "![learning curves](curves.png)" if is_drawn else f"No learning curves: {why}."


def _result(progress: RunProgress, evaluation: Evaluation | None) -> str:
    """Return the sentences of the report on successes: of the real arm's episodes, if the run had a
    real arm, and of the evaluation.

    Args:
        progress: Progress of the run.
        evaluation: Evaluation of the policy; None: a sentence says that the policy was not
            evaluated, another one gives the last evaluation of the training.
    """
    sentences = []
    if progress.real_arm:
        reached = progress.successes
        total = len(progress.episodes)
        sentences.append(f"The real arm reached the goal in **{reached} of {total}** episodes.")
    if evaluation is None:
        return " ".join([*sentences, "The policy was not evaluated.", *_last_evaluation(progress)])
    kind = "simulated evaluation" if progress.real_arm else "evaluation"
    reached = sum(evaluation.successes)
    total = len(evaluation.successes)
    how = "deterministic mode; the same episodes decided which policy is kept"
    sentences.append(f"**{reached} of {total}** {kind} episodes reached the goal ({how}).")
    return " ".join(sentences)


def _last_evaluation(progress: RunProgress) -> list[str]:
    """Return a sentence on the last evaluation of the training; no sentence if there was none."""
    if not progress.evaluations:
        return []
    _, _, version, last = progress.evaluations[-1]
    return [
        f"In the last evaluation during training, of version {version}, {sum(last.successes)} of"
        f" {len(last.successes)} episodes reached the goal."
    ]


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
    """Return the text of report.md.

    It has the successes and why the run ended, the pictures, the command, tables of the figures and
    of the versions, the policy's version and hash, the counted faults, and the commands that
    evaluate the policy again and continue the run.

    Args:
        task: The task.
        progress: Progress of the run.
        policy: The policy in policy.onnx; None: there was none yet.
        evaluation: Evaluation of this policy; None: it was not evaluated.
        figures: Figures by name, from `figures_of`.
        source: Name or path of the task, as `task:=` takes it.
        command: Command that repeats the run.
        seed: Seed of the run.
        evaluation_seed: Seed of the evaluation episodes.
        ending: Why the run ended, as a sentence.
        pictures: Markdown of each picture, or why it is missing.
    """
    result = _result(progress, evaluation)
    source_word = shlex.quote(source)
    shown = "\n\n".join(pictures)
    acting = (
        f"version {policy.info.version}, {policy.info.updates} updates, SHA-256"
        f" {policy.info.sha256}"
        if policy
        else "none yet"
    )
    shown_figures = [(name, f"{value:.6g}") for name, value in figures.items()]
    if evaluation is None:
        rate = "simulated_success_rate" if progress.real_arm else "success_rate"
        shown_figures.append((rate, "not evaluated"))
    figure_table = markdown_table(["figure", "value"], shown_figures)
    version_table = markdown_table(["version of", ""], versions().items())
    faults = (
        ", ".join(f"{kind}: {count}" for kind, count in sorted(progress.faults.items())) or "none"
    )
    rate_hz = f"{task.config.control_rate_hz:g} Hz"
    evaluate = (
        f"sql-ros eval --policy policy.onnx --task {source_word} --episodes 100"
        f" --seed {evaluation_seed}"
    )
    return f"""# {task.spec.task}, seed {seed}

{result} {ending}

{shown}

    {command}

{figure_table}

- policy: {acting}
- code of the task: {task.spec.task_code or "not known"}
- robot time counts every control step, the ways to the start poses included, at {rate_hz}
- faults counted by the nodes: {faults}

{version_table}

Beside this file: `policy.onnx` (evaluate it again: `{evaluate}`),
`checkpoints/` (continue: `{continuing(command, source)}`), `metrics.jsonl`, `figures.json`, `log/`.
"""
