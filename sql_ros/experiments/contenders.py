"""The contenders and the environments of the ablation; settings are differences from ours."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig

OURS = AlgorithmConfig(
    temperature=0.05,
    discount=0.97,
    hidden_sizes=(128, 128),
    batch_size=64,
    value_particles=8,
    uniform_particles=2,
    fixed_particles=8,
    updated_particles=8,
)
PACE = TrainerConfig(replay_capacity=100_000, warmup_transitions=1000, updates_per_transition=1.0)
# the authors' code: reward scale 30 at alpha 1
GYM = {"discount": 0.99, "temperature": 1.0 / 30.0, "final_temperature": 1.0 / 30.0}


@dataclass(frozen=True)
class Problem:
    """The settings of one environment in the ablation.

    Attributes:
        steps: Transitions per run.
        evaluate_every: Transitions between two evaluations.
        evaluation_episodes: Episodes per evaluation.
        algorithm: Options of `AlgorithmConfig` that differ from `OURS`, for every contender.
    """

    steps: int
    evaluate_every: int
    evaluation_episodes: int
    algorithm: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """One side of the comparison.

    Attributes:
        method: "soft_q", "sac" or "ddpg" (stable-baselines3), or "uniform": random actions, the
            zero of the comparison.
        algorithm: Options of `AlgorithmConfig` that differ from `OURS` and from the problem's.
        pace: Options of `TrainerConfig` that differ from `PACE`.
        main: Whether its curve is drawn bold, and its runs are made first.
    """

    method: str = "soft_q"
    algorithm: dict[str, Any] = field(default_factory=dict)
    pace: dict[str, Any] = field(default_factory=dict)
    main: bool = False

    @property
    def early(self) -> bool:
        """Return whether it is run before the other contenders with the same seed."""
        return self.main or self.method == "uniform"


PROBLEMS: dict[str, Problem] = {
    "sql_ros/SawyerReach-v0": Problem(6000, 1000, 10),
    "Swimmer-v5": Problem(6000, 1000, 3, GYM),
    "HalfCheetah-v5": Problem(6000, 1000, 3, GYM),
    "Hopper-v5": Problem(6000, 1000, 3, GYM),
}

# [SQL17] App. D.1 as far as two cores allow. Cut: widths 200 -> 128, K of the value 50 -> 16 and
# particles 32 + 32 -> 8 + 8 (both as in the authors' code), warm-up 10000 -> 1000. Temperature and
# discount are those of every contender; no exploration noise, as in the authors' code.
_STEIN = {"sampler": "stein", "fixed_particles": 8, "updated_particles": 8}
PAPER = {
    **_STEIN,
    "noise_skip": False,
    "value_proposal": "uniform",
    "value_particles": 16,
    "q_networks": 1,
    "target_update": "hard",
    "q_learning_rate": 1e-3,
    "sampler_learning_rate": 1e-4,
}

CONTENDERS: dict[str, Contender] = {
    "uniform": Contender("uniform"),
    "ours": Contender(main=True),
    "paper": Contender(algorithm=PAPER, main=True),
    "sb3 sac": Contender("sac", main=True),
    "sb3 ddpg": Contender("ddpg", main=True),
    "stein sampler": Contender(algorithm=_STEIN),
    "stein, bandwidth per dimension": Contender(algorithm={**_STEIN, "bandwidth": "per_dimension"}),
    "uniform proposal": Contender(algorithm={"value_proposal": "uniform"}),
    "minimum of particles": Contender(algorithm={"minimum_of": "particles"}),
    "single Q": Contender(algorithm={"q_networks": 1}),
    "LayerNorm": Contender(algorithm={"layer_norm": True}),
    "2 updates per step": Contender(pace={"updates_per_transition": 2.0}),
    "hard target": Contender(algorithm={"target_update": "hard"}),
    "tuned temperature": Contender(algorithm={"temperature_mode": "tuned"}),
    "bfloat16 particles": Contender(algorithm={"particle_precision": "bfloat16"}),
    "16 value particles": Contender(algorithm={"value_particles": 16}),
}


def settings(contender: Contender, problem: Problem) -> tuple[AlgorithmConfig, TrainerConfig]:
    """Return all options of a contender on a problem: of the learner, and of the trainer.

    An option of the contender replaces that of the problem, which replaces that of `OURS`.
    """
    return replace(OURS, **{**problem.algorithm, **contender.algorithm}), replace(
        PACE, **contender.pace
    )
