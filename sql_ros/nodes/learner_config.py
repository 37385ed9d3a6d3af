"""The parameters of the learner node, readable without torch."""

from __future__ import annotations

from dataclasses import dataclass

from sql_ros.core.config import option
from sql_ros.nodes.managed import ManagedConfig


@dataclass(frozen=True)
class LearnerConfig(ManagedConfig):
    """Parameters of the learner node itself; those of the algorithm have the prefixes `trainer` and `algorithm`."""

    task: str = option("sawyer_reach", "name of a file in config/tasks/, or a path")
    seed: int = option(0, "of weights, batches and proposals", minimum=0)
    run_dir: str = option("", "where checkpoints/ goes; empty: none are written")
    resume: bool = option(False, "continue from the newest checkpoint in run_dir")
    realtime_factor: float = option(1.0, "0: lockstep, updates are made transition by transition, in order", minimum=0.0, maximum=100.0)
    policy_period_s: float = option(
        2.0, "between two policies when not in lockstep (there: every 50 transitions, and at the end of an episode) [s]", minimum=0.0
    )
    checkpoint_period_s: float = option(60.0, "between two checkpoints [s]", minimum=1.0)
    durable: bool = option(True, "with run_dir: a transition is acknowledged when it is on disk; false: when it is in the buffer")
    key_file: str = option("", "policies, progress and transitions are signed by the key in it, see 'sql-ros keygen'; empty: they are not")
    threads: int = option(1, "torch threads; two stall each other where another process has a core", minimum=1, maximum=256)
