"""The ROS parameters of the learner node, in a module that does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from sql_ros.common.config import option
from sql_ros.nodes.managed import ManagedConfig


@dataclass(frozen=True)
class LearnerConfig(ManagedConfig):
    """ROS parameters of the learner node without a prefix.

    The parameters `trainer.*` and `algorithm.*` are `TrainerConfig` and `AlgorithmConfig`.
    """

    task: str = option("sawyer_reach", "name of a file in config/tasks/, or a path")
    seed: int = option(0, "seed of weights, batches and proposals", minimum=0)
    run_dir: str = option(
        "", "folder of the run, for checkpoints/; empty: no checkpoints are written"
    )
    resume: bool = option(False, "continue from the newest checkpoint in run_dir")
    realtime_factor: float = option(
        1.0,
        "0: lockstep, updates are made transition by transition, in order",
        minimum=0.0,
        maximum=100.0,
    )
    policy_period_s: float = option(
        2.0,
        "time between two policies [s]; in lockstep a policy is published every 50 transitions, and"
        " at the end of an episode",
        minimum=0.0,
    )
    checkpoint_period_s: float = option(60.0, "time between two checkpoints [s]", minimum=1.0)
    key_file: str = option(
        "",
        "file of the key that signs policies, progress and transitions, see 'sql-ros keygen';"
        " empty: they are not signed",
    )
    threads: int = option(
        1,
        "torch threads; two of them wait for each other where another process uses a core",
        minimum=1,
        maximum=256,
    )
