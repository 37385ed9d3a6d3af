"""Learning curves of a run as a PNG file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from sql_ros.common.plotting import pyplot, save_figure, tidy
from sql_ros.runs.progress import RECENT, RunProgress


def plot_curves(progress: RunProgress, path: Path, title: str) -> None:
    """Draw return, success rate and final distance of this session's episodes over the robot time.

    Each has a panel, with its mean over the last `RECENT` episodes; the distance has a logarithmic
    axis. The success rate of evaluations is a curve of its own.

    Args:
        progress: Progress of the run.
        path: PNG file to write.
        title: Title above the panels.

    Raises:
        ImportError: Matplotlib cannot be used.
    """
    plt = pyplot()
    minutes = episode_minutes(progress)
    returns = np.array([episode.undiscounted_return for episode in progress.episodes])
    successes = np.array([float(episode.success) for episode in progress.episodes])
    distances = np.array([1e3 * episode.distance for episode in progress.episodes])
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4.2), constrained_layout=True)
    for axes, values, label in (
        (left, returns, "return"),
        (right, distances, "distance at the end [mm]"),
    ):
        axes.plot(minutes, values, ".", color="#b8c4d0", markersize=3)
        axes.plot(
            minutes,
            _running_mean(values),
            color="#1f4e79",
            label=f"mean of {RECENT} training episodes",
        )
        axes.set_ylabel(label)
    middle.plot(minutes, _running_mean(successes), color="#1f4e79", label="training, sampling")
    if progress.evaluations:
        label = f"{'simulated ' if progress.real_arm else ''}evaluation, deterministic"
        times, rates = zip(
            *[(minute, result.success_rate) for minute, _, _, result in progress.evaluations]
        )
        middle.plot(times, rates, "o-", color="#c0392b", markersize=4, label=label)
    middle.set_ylabel("success rate")
    middle.set_ylim(-0.03, 1.03)
    right.set_yscale("log")
    for axes in (left, middle, right):
        axes.set_xlabel("robot time [min]")
        tidy(axes)
    for axes in (left, middle):  # the legend is above the axes, where it hides no point
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize="small")
    figure.suptitle(title)
    save_figure(figure, path)


def episode_minutes(progress: RunProgress) -> npt.NDArray[np.float64]:
    """Return the robot time at the end of each episode of this session, (E,) [min].

    The robot time includes earlier sessions.
    """
    steps = np.cumsum([episode.robot_steps for episode in progress.episodes], dtype=np.float64)
    return np.asarray((progress.earlier_steps + steps) / progress.control_rate_hz / 60.0)


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of the last `RECENT` values up to each point: (E,) -> (E,).

    Near the beginning it is the mean of fewer values.
    """
    sums = np.concatenate(([0.0], np.cumsum(values)))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - RECENT, 0)
    return np.asarray((sums[ends] - sums[starts]) / np.maximum(ends - starts, 1))
