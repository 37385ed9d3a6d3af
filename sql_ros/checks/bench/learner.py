"""`sql-ros bench learner`: updates per second of our learner beside the published update and SAC.

All are measured in turn in one run. The time of each is compared with the time of its matrix
products alone.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from sql_ros.checks.bench import gemm
from sql_ros.checks.bench.costs import BufferCosts, buffer_costs, peak_update_bytes
from sql_ros.checks.bench.implementations import Implementation, UpdateProblem, ours, port, sac

# fields of AlgorithmConfig that differ from the defaults, by name
OURS: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours_float32": {"particle_precision": "float32"},
    "ours_bfloat16": {"particle_precision": "bfloat16"},
    "ours_minimum_of_particles": {"minimum_of": "particles"},
    "ours_stein": {"sampler": "stein"},
}
# more preemptions mean that other processes used the cores: a product on two threads then waits for
# the second thread
CALM_PREEMPTIONS_PER_S = 60.0
WARM_UP_UPDATES = 5
WARM_UP_SHARE = 0.2  # share of a repeat


@dataclass(frozen=True)
class Measured:
    """Measurements of one implementation.

    Attributes:
        seconds: Mean time of an update in each repeat [s].
        gemm_seconds: Time of the matrix products of one update alone, measured beside each repeat
            [s].
        flops: Floating-point operations of these products in one update.
    """

    seconds: tuple[float, ...]
    gemm_seconds: tuple[float, ...]
    flops: int

    @property
    def rates(self) -> list[float]:
        """Return the updates per second in each repeat."""
        return [1.0 / value for value in self.seconds]

    @property
    def gemm_fraction(self) -> float:
        """Return the time of the matrix products over the time of the update, as the median of the
        repeats.

        1 would be an update that does nothing but its matrix products.
        """
        return statistics.median(
            limit / value for limit, value in zip(self.gemm_seconds, self.seconds)
        )


@dataclass(frozen=True)
class LearnerResult:
    """Result of `measure_learner`.

    Attributes:
        problem: Sizes and seed.
        threads: Threads of torch.
        implementations: Measurements by name, in the order of the table.
        variants: Names of our implementations, the main one first.
        buffer: Costs of the replay buffer.
        peak_bytes: By how much the first updates of the main variant raise the memory [bytes];
            None: unknown.
        largest_gflops: By type, speed in the largest matrix product of all implementations
            [GFLOP/s].
        preemptions_per_s: How often the scheduler took a core away during the measurement [1/s].
    """

    problem: UpdateProblem
    threads: int
    implementations: dict[str, Measured]
    variants: tuple[str, ...]
    buffer: BufferCosts
    peak_bytes: int | None
    largest_gflops: dict[str, float]
    preemptions_per_s: float

    def ratio(self, name: str, other: str) -> list[float]:
        """Return how many times as fast one implementation was as another, in each repeat.

        Args:
            name: Implementation that is compared; above 1 means it was faster.
            other: Implementation with which `name` is compared.

        Raises:
            KeyError: A name was not measured.
        """
        return [
            theirs / mine
            for mine, theirs in zip(
                self.implementations[name].seconds, self.implementations[other].seconds
            )
        ]


def measure_learner(
    batch: int = 256,
    width: int = 256,
    value_particles: int = 16,
    kernel_particles: int = 16,
    observation_size: int = 20,
    action_size: int = 7,
    threads: int = 2,
    repeats: int = 7,
    seconds_per_repeat: float = 1.5,
    seed: int = 0,
    variants: Mapping[str, Mapping[str, Any]] = OURS,
    with_sb3: bool = True,
    progress: Callable[[str], None] = lambda line: None,
) -> LearnerResult:
    """Measure updates of every implementation in turn; each update includes the drawing of its
    batch.

    Args:
        batch: Transitions per update, B.
        width: Units of both hidden layers of every network.
        value_particles: Actions per state for the soft value.
        kernel_particles: Particles per state; half of them fixed, half updated.
        observation_size: Numbers in an observation, S.
        action_size: Numbers in an action, A.
        threads: Threads of torch during the measurement; restored afterwards.
        repeats: Rounds in which each implementation has one turn.
        seconds_per_repeat: Length of one turn [s].
        seed: Seed of transitions, weights and draws.
        variants: By name of our implementation, the fields of `AlgorithmConfig` that replace the
            defaults and the sizes; at least one. The first is the main variant, which the memory
            and unnamed figures are about.
        with_sb3: Measure SAC of stable-baselines3, too.
        progress: Called with a line of text before each part and after each round.

    Returns:
        The measurements.

    Raises:
        ConfigError: stable-baselines3 is not installed, a variant is not a valid configuration, or
            the child process that measures memory failed.
    """
    problem = UpdateProblem(
        batch, width, value_particles, kernel_particles, observation_size, action_size, seed=seed
    )
    with torch_threads(threads):
        implementations = [ours(problem, name, settings) for name, settings in variants.items()]
        implementations += [port(problem), *([sac(problem)] if with_sb3 else [])]
        counts = {}
        products = {}
        for each in implementations:
            progress(f"warm-up: {each.name}")
            counts[each.name] = _updates_in(each, seconds_per_repeat)
            products[each.name] = gemm.record(partial(each.run, 1))
        taken = _preemptions()
        start = time.monotonic()
        seconds, limits = _rounds(implementations, counts, products, repeats, progress)
        preemptions_per_s = (_preemptions() - taken) / (time.monotonic() - start)
        progress("largest matrix products, replay buffer, memory")
        largest = gemm.largest_gflops([product for each in products.values() for product in each])
        buffer = buffer_costs(batch, observation_size, action_size, seed=seed)
    peak = peak_update_bytes(problem, next(iter(variants.values())), threads)
    measured = {
        name: Measured(tuple(seconds[name]), tuple(limits[name]), gemm.flops(products[name]))
        for name in counts
    }
    return LearnerResult(
        problem, threads, measured, tuple(variants), buffer, peak, largest, preemptions_per_s
    )


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Set the number of torch's threads inside the context, and restore the earlier number
    afterwards.

    Args:
        count: Number of threads, at least 1.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _preemptions() -> int:
    """Return the number of involuntary context switches of all threads of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _updates_in(implementation: Implementation, seconds: float) -> int:
    """Warm up an implementation and return how many of its updates fill one turn.

    Args:
        implementation: The implementation; its weights change.
        seconds: Length of a turn [s].

    Returns:
        Number of updates, at least 1.
    """
    implementation.run(WARM_UP_UPDATES)
    first = max(1, int(WARM_UP_SHARE * seconds / implementation.seconds(WARM_UP_UPDATES)))
    return max(1, round(seconds / implementation.seconds(first)))


def _rounds(
    implementations: Sequence[Implementation],
    counts: Mapping[str, int],
    products: Mapping[str, list[gemm.Product]],
    repeats: int,
    progress: Callable[[str], None],
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Measure all implementations in turn, in rounds; each round begins with another
    implementation.

    Args:
        implementations: All implementations.
        counts: Updates per turn by name.
        products: Matrix products of one update by name.
        repeats: Number of rounds.
        progress: Called with a line of text after each round.

    Returns:
        Mean time of an update, and time of the matrix products of one update alone. Both are lists
        over the rounds by name [s].
    """
    seconds: dict[str, list[float]] = {each.name: [] for each in implementations}
    limits: dict[str, list[float]] = {each.name: [] for each in implementations}
    for repeat in range(repeats):
        turn = repeat % len(implementations)
        for each in [*implementations[turn:], *implementations[:turn]]:
            seconds[each.name].append(each.seconds(counts[each.name]))
            limits[each.name].append(gemm.limit_seconds(products[each.name], repeats=3))
        rates = ", ".join(f"{name} {1.0 / values[-1]:.0f}" for name, values in seconds.items())
        progress(f"round {repeat + 1} of {repeats}, updates per second: {rates}")
    return seconds, limits
