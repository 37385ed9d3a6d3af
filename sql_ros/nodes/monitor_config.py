"""The ROS parameters of the monitor."""

from __future__ import annotations

from dataclasses import dataclass

from sql_ros.common.config import Config, option

EVALUATION_SEED = 1000  # seed of start poses and targets, the same for every policy


@dataclass(frozen=True)
class MonitorConfig(Config):
    """ROS parameters of the monitor."""

    task: str = option("sawyer_reach", "name of a file in config/tasks/, or a path")
    mode: str = option(
        "train", "train: evaluate policies; play: watch only", choices=("train", "play")
    )
    policy: str = option("", "ONNX file of the policy that plays, for the report")
    real_arm: bool = option(
        False, "the episodes are those of a real arm; policies are still evaluated in simulation"
    )
    run_dir: str = option(
        "", "folder for report, curves, metrics and policy; empty: nothing is written"
    )
    key_file: str = option(
        "",
        "file of the key that signs policies, progress and transitions, see 'sql-ros keygen';"
        " empty: they are not signed",
    )
    seed: int = option(
        0, "seed of the run, for the report; evaluation episodes have seeds of their own", minimum=0
    )
    command: str = option("", "command that repeats the run, for the report")
    evaluation_episodes: int = option(100, "episodes of one evaluation", minimum=1, live=True)
    evaluation_period: int = option(
        10, "number of policies between two evaluations", minimum=1, live=True
    )
    success_threshold: float = option(
        0.95,
        "share of successful evaluation episodes at which the task is learned",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    stops_on_success: bool = option(True, "end the run when the task is learned", live=True)
    session: str = option("", "session of one start of a stack, whose nodes belong together")
    most_transitions: int = option(
        0, "end the run after this number of transitions; 0: no limit", minimum=0
    )
