"""Updates per second of our learner beside the published update and SAC, interleaved in one run, and how near the products' limit it is."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from sql_ros.bench import gemm
from sql_ros.bench.contenders import Contender, Problem, ours, port, sac
from sql_ros.bench.costs import BufferCosts, buffer_costs, peak_update_bytes

OURS: dict[str, dict[str, Any]] = {  # name -> fields of AlgorithmConfig that depart from the defaults
    "ours": {},
    "ours_float32": {"particle_precision": "float32"},
    "ours_bfloat16": {"particle_precision": "bfloat16"},
    "ours_minimum_of_particles": {"minimum_of": "particles"},
    "ours_stein": {"sampler": "stein"},
}
CALM_PREEMPTIONS_PER_S = 60.0  # more: another process had the cores, and a product on two threads waits a scheduler's slice for the other
WARM_UP_UPDATES = 5
WARM_UP_SHARE = 0.2  # of a repeat


@dataclass(frozen=True)
class Measured:
    """One contender.

    Attributes:
        seconds: mean time of an update in each repeat [s].
        gemm_seconds: time of its matrix products alone, measured beside each repeat [s].
        flops: of these products in one update.
    """

    seconds: tuple[float, ...]
    gemm_seconds: tuple[float, ...]
    flops: int

    @property
    def rates(self) -> list[float]:
        """Updates per second in each repeat."""
        return [1.0 / value for value in self.seconds]

    @property
    def gemm_fraction(self) -> float:
        """Share of an update that its products need: 1 is the limit. Median of the repeats."""
        return statistics.median(limit / value for limit, value in zip(self.gemm_seconds, self.seconds))


@dataclass(frozen=True)
class LearnerResult:
    """What `measure_learner` found; `contenders` in the order in which they are shown."""

    problem: Problem
    threads: int
    contenders: dict[str, Measured]
    variants: tuple[str, ...]  # those of the contenders that are ours, the main one first
    buffer: BufferCosts
    peak_bytes: int | None
    largest_gflops: dict[str, float]  # reached in the largest product of each dtype, all contenders together
    preemptions_per_s: float  # how often the scheduler took a core away while measuring: was the machine ours?

    def ratio(self, name: str, other: str) -> list[float]:
        """How many times as fast `name` was as `other`, in each repeat."""
        return [theirs / mine for mine, theirs in zip(self.contenders[name].seconds, self.contenders[other].seconds)]


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
) -> LearnerResult:
    """Measures every contender `repeats` times in turn, drawing batches included.

    Args:
        batch: transitions per update, B.
        width: of both hidden layers of every network.
        value_particles: actions per state for the soft value.
        kernel_particles: per state; half fixed, half updated.
        observation_size: S.
        action_size: A.
        threads: of torch.
        repeats: rounds in which each contender has its turn.
        seconds_per_repeat: length of one turn [s].
        seed: of transitions, weights and draws.
        variants: of our learner: name -> fields of `AlgorithmConfig`; the first is the one that the figures are about.
        with_sb3: whether SAC of stable-baselines3 takes part.

    Raises:
        ConfigError: stable-baselines3 is not installed, or a variant is not a valid configuration.
    """
    problem = Problem(batch, width, value_particles, kernel_particles, observation_size, action_size, seed=seed)
    with torch_threads(threads):
        crowd = [ours(problem, name, settings) for name, settings in variants.items()]
        crowd += [port(problem), *([sac(problem)] if with_sb3 else [])]
        counts = {contender.name: _updates_in(contender, seconds_per_repeat) for contender in crowd}
        products = {contender.name: gemm.record(partial(contender.run, 1)) for contender in crowd}
        taken, start = _preemptions(), time.monotonic()
        seconds, limits = _rounds(crowd, counts, products, repeats)
        preemptions_per_s = (_preemptions() - taken) / (time.monotonic() - start)
        largest = gemm.largest_gflops([product for each in products.values() for product in each])
        buffer = buffer_costs(batch, observation_size, action_size, seed=seed)
    peak = peak_update_bytes(problem, next(iter(variants.values())), threads)
    measured = {name: Measured(tuple(seconds[name]), tuple(limits[name]), gemm.flops(products[name])) for name in counts}
    return LearnerResult(problem, threads, measured, tuple(variants), buffer, peak, largest, preemptions_per_s)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Lets torch use so many threads inside, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _preemptions() -> int:
    """Involuntary context switches of all threads of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _updates_in(contender: Contender, seconds: float) -> int:
    """Warms up; returns how many updates fill so many seconds, at least one."""
    contender.run(WARM_UP_UPDATES)
    first = max(1, int(WARM_UP_SHARE * seconds / contender.seconds(WARM_UP_UPDATES)))
    return max(1, round(seconds / contender.seconds(first)))


def _rounds(
    crowd: Sequence[Contender], counts: Mapping[str, int], products: Mapping[str, list[gemm.Product]], repeats: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds per update and of its products alone, per contender and repeat; another one begins in every round."""
    seconds: dict[str, list[float]] = {contender.name: [] for contender in crowd}
    limits: dict[str, list[float]] = {contender.name: [] for contender in crowd}
    for repeat in range(repeats):
        turn = repeat % len(crowd)
        for contender in [*crowd[turn:], *crowd[:turn]]:
            seconds[contender.name].append(contender.seconds(counts[contender.name]))
            limits[contender.name].append(gemm.limit_seconds(products[contender.name], repeats=3))
    return seconds, limits
