"""The options of the learner and of its trainer.

Without torch, so that options can be checked where torch is not installed.
"""

from __future__ import annotations

from dataclasses import dataclass

from sql_ros.common.config import Config, option
from sql_ros.common.errors import ConfigError


@dataclass(frozen=True)
class TrainerConfig(Config):
    """Options of the trainer: size of the replay buffer and pace of the updates."""

    replay_capacity: int = option(
        1_000_000, "transitions kept; the oldest are overwritten", minimum=1
    )
    warmup_transitions: int = option(
        1000, "transitions before the first update (paper: 10000)", minimum=1
    )
    updates_per_transition: float = option(
        1.0, "gradient steps per transition after the warm-up", minimum=0.0, maximum=1000.0
    )


@dataclass(frozen=True)
class AlgorithmConfig(Config):
    """Hyperparameters of the learner. The values of [SQL17] are named where the defaults differ."""

    kind: str = option(
        "sql",
        "soft Q-learning, or an algorithm with which it is compared",
        choices=("sql", "ddpg", "sac"),
    )
    temperature: float = option(
        0.05, "alpha: reward per nat of entropy; the policy is exp(Q / alpha)", minimum=1e-6
    )
    temperature_mode: str = option(
        "schedule",
        "alpha by the schedule below, or tuned until the policy has the target entropy",
        choices=("schedule", "tuned"),
    )
    final_temperature: float = option(
        0.05, "alpha at the end of the annealing, log-linear in updates", minimum=1e-6
    )
    annealing_updates: int = option(
        0, "updates over which alpha goes from first to last; 0: constant at temperature", minimum=0
    )
    target_entropy: float = option(
        -1.0,
        "of the policy, tuned mode: nats per component of the action; uniform: 0.693",
        maximum=0.69,
    )
    temperature_learning_rate: float = option(
        3e-4, "Adam step size of log alpha, tuned mode", minimum=0.0
    )
    discount: float = option(0.97, "gamma", minimum=0.0, maximum=1.0)
    hidden_sizes: tuple[int, ...] = option(
        (128, 128), "width of each hidden layer of both networks (paper: 200, 200)", minimum=1
    )
    q_networks: int = option(
        2, "independent Q-networks, their minimum is used (paper: 1)", minimum=1, maximum=10
    )
    minimum_of: str = option(
        "values",
        "of the Q-networks: the smallest of the soft values, each by one network at its own share"
        " of the value particles, or the smallest Q at each particle, as always with sampler"
        " 'stein' and with value_proposal 'uniform', whose estimates of V are noisier",
        choices=("values", "particles"),
    )
    layer_norm: bool = option(False, "normalise the hidden layers of the Q-networks (paper: no)")
    q_learning_rate: float = option(1e-3, "Adam step size of the Q-networks", minimum=0.0)
    batch_size: int = option(64, "transitions per update (paper: 64)", minimum=1)
    value_particles: int = option(
        8, "actions per state for the soft value, K in Eq. 10 (paper: 50)", minimum=3
    )
    value_proposal: str = option(
        "sampler",
        "actions at which V is estimated: of the sampler, with a uniform floor, or uniform (paper)",
        choices=("sampler", "uniform"),
    )
    uniform_particles: int = option(
        2, "value particles that are uniform, value_proposal 'sampler'", minimum=1
    )
    sampler: str = option(
        "mixture",
        "a mixture of known density fitted by the weights of V, or amortized SVGD (paper)",
        choices=("mixture", "stein"),
    )
    sampler_learning_rate: float = option(
        1e-3, "Adam step size of the sampling network (paper: 1e-4)", minimum=0.0
    )
    fixed_particles: int = option(
        16, "particles per state that carry the score, sampler 'stein' (paper: 32)", minimum=2
    )
    updated_particles: int = option(
        16, "particles per state that are moved, sampler 'stein' (paper: 32)", minimum=1
    )
    particle_precision: str = option(
        "auto",
        "precision of the target Q-networks at the value particles; auto: bfloat16 where that is"
        " faster",
        choices=("auto", "float32", "bfloat16"),
    )
    bandwidth: str = option(
        "median",
        "of the kernel: one per state (paper) or one per state and dimension",
        choices=("median", "per_dimension"),
    )
    noise_skip: bool = option(
        True, "sampler 'stein' adds its noise: u = W xi + f(s, xi), W starting as 1 (paper: no W)"
    )
    target_update: str = option(
        "polyak",
        "how the target follows Q: polyak, or hard copies every 1000 updates (paper)",
        choices=("polyak", "hard"),
    )
    target_rate: float = option(
        0.005, "share of Q that enters the target per update (polyak)", minimum=0.0, maximum=1.0
    )
    device: str = option("cpu", "where the learner computes", choices=("cpu", "cuda"))

    def __post_init__(self) -> None:
        """Check the ranges of the options, and that the options fit together.

        Raises:
            ConfigError: An option is out of its range; there is no hidden layer; more than
                `value_particles` - 2 particles would be uniform; or the particles cannot be shared
                equally among the Q-networks.
        """
        super().__post_init__()
        if not self.hidden_sizes:
            raise ConfigError(
                "'hidden_sizes' is [], expected the width of one hidden layer at least"
            )
        if self.value_proposal == "sampler" and self.uniform_particles > self.value_particles - 2:
            raise ConfigError(
                f"'uniform_particles' is {self.uniform_particles}, expected at most value_particles"
                f" - 2 = {self.value_particles - 2}"
            )
        if self.splits_value_particles:
            for name in ("value_particles", "uniform_particles"):
                if getattr(self, name) % self.q_networks:
                    raise ConfigError(
                        f"'{name}' is {getattr(self, name)}, expected a multiple of q_networks ="
                        f" {self.q_networks}, each of which is evaluated at an equal share of them,"
                        " or minimum_of: particles"
                    )

    @property
    def splits_value_particles(self) -> bool:
        """Return whether each of several Q-networks is evaluated at value particles of its own."""
        estimates_are_precise = (
            self.kind == "sql" and self.sampler == "mixture" and self.value_proposal == "sampler"
        )
        return estimates_are_precise and self.minimum_of == "values" and self.q_networks > 1

    def temperature_at(self, updates: int) -> float:
        """Return alpha by the schedule.

        log alpha is linear in the updates, from `temperature` to `final_temperature`, as in the
        fine-tuning of the paper. After `annealing_updates`, alpha stays at `final_temperature`.

        Args:
            updates: Gradient steps made so far.

        Returns:
            alpha; always `temperature` where `annealing_updates` is 0.
        """
        if self.annealing_updates == 0:
            return self.temperature
        progress = min(updates / self.annealing_updates, 1.0)
        return float(self.temperature ** (1.0 - progress) * self.final_temperature**progress)


# options that decide which networks there are, and so which checkpoints fit
NETWORK_OPTIONS = (
    "kind",
    "hidden_sizes",
    "q_networks",
    "layer_norm",
    "sampler",
    "noise_skip",
)
