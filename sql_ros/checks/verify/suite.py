"""The suites of `sql-ros verify`: all checks of the mathematics and of the safety filter in their
long form.

A suite is a function of four arguments. It appends to `results`, with the sizes of `sizes` and a
`seed` of weights and draws, and calls `progress` with a line of text from time to time. `verify`
shows a suite's docstring. The tests run the same functions in smaller sizes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sql_ros.checks.verify.checks import Check, Progress
from sql_ros.checks.verify.composition import composition_checks
from sql_ros.checks.verify.fixed_points import fork, regulators
from sql_ros.checks.verify.safety import safety_checks
from sql_ros.checks.verify.sampler_checks import compare, picture_of, sampler_checks, truths
from sql_ros.checks.verify.samplers import KINDS
from sql_ros.checks.verify.tabular import FloatArray
from sql_ros.checks.verify.tabular_checks import tabular_checks
from sql_ros.checks.verify.temperature import tuned_temperature
from sql_ros.checks.verify.value_checks import (
    EVALUATIONS,
    EstimateErrors,
    estimates,
    gaussian_sampler,
    gaussian_truths,
    value_checks,
)
from sql_ros.checks.verify.wrong_plant import COMMANDS_PER_ROUND, plant_checks

PICTURE_TEMPERATURES = (0.1, 1.0)
# the long form has enough updates for a slow target network, which averages over their noise
SLOW_TARGET = {"target_rate": 0.005}
VALUE_KINDS = ("mixture", "stein, skip")


@dataclass
class VerifyResults:
    """Results of the suites, to which each suite appends.

    Attributes:
        checks: All checks.
        estimates: Estimates of V, for the table.
        densities: For the picture, by temperature, kind of sampler and name of the energy: exact
            masses and histogram of a two-dimensional action, (BINS, BINS) each.
    """

    checks: list[Check] = field(default_factory=list)
    estimates: list[EstimateErrors] = field(default_factory=list)
    densities: dict[float, dict[str, dict[str, tuple[FloatArray, FloatArray]]]] = field(
        default_factory=dict
    )


@dataclass(frozen=True)
class CheckSizes:
    """Sizes of the checks; the defaults are the long form, and tests reduce them.

    Attributes:
        sampler: Gradient steps of a sampler on the energies.
        gaussian: Gradient steps of a sampler on Gaussians.
        temperature: Gradient steps with a tuned temperature.
        fixed_point: Gradient steps of a learner.
        commands: Commands given to the safety filter.
        jobs: Worker processes of the safety suite.
        draws: Draws of a trained sampler per situation; 0: as many as its histogram needs.
    """

    sampler: int = 6000
    gaussian: int = 3000
    temperature: int = 4000
    fixed_point: int = 6000
    commands: int = 1_000_000
    jobs: int = os.cpu_count() or 1
    draws: int = 0


def exact(results: VerifyResults, sizes: CheckSizes, seed: int, progress: Progress) -> None:
    """Check finite problems: contraction, fixed points, scale invariance, policy improvement,
    bounds of composition.
    """
    results.checks += tabular_checks(seed) + composition_checks(seed)


def samplers(
    results: VerifyResults,
    sizes: CheckSizes,
    seed: int,
    progress: Progress,
    kinds: Sequence[str] = KINDS,
) -> None:
    """Check densities, masses of modes, V and entropy in one and two dimensions."""
    for kind in kinds:
        for size in (1, 2):
            sampler, found = compare(kind, size, sizes.sampler, seed, progress, sizes.draws)
            results.checks += sampler_checks(size, found)
            for proposal in ("sampler", "uniform") if kind == KINDS[0] else ("sampler",):
                results.estimates += estimates(sampler, proposal, max(EVALUATIONS), truths(found))
            if size == 2:
                for temperature in PICTURE_TEMPERATURES:
                    results.densities.setdefault(temperature, {})[kind] = picture_of(
                        sampler, found, temperature
                    )


def values(results: VerifyResults, sizes: CheckSizes, seed: int, progress: Progress) -> None:
    """Check V and entropy in three and seven dimensions."""
    for size in (3, 7):
        for kind in VALUE_KINDS:
            sampler = gaussian_sampler(kind, size, sizes.gaussian, seed, progress)
            for proposal in ("sampler", "uniform") if kind == KINDS[0] else ("sampler",):
                for count in EVALUATIONS:
                    results.estimates += estimates(sampler, proposal, count, gaussian_truths(size))


def temperature(results: VerifyResults, sizes: CheckSizes, seed: int, progress: Progress) -> None:
    """Check the temperature that is tuned to a target entropy."""
    for size in (1, 7):
        results.checks += tuned_temperature(size, sizes.temperature, seed, progress)


def fixed_points(results: VerifyResults, sizes: CheckSizes, seed: int, progress: Progress) -> None:
    """Check the whole learner on problems with known answers: soft LQR, a discretised continuous
    problem.
    """
    results.checks += regulators(seed, sizes.fixed_point, SLOW_TARGET, progress)
    results.checks += fork(seed, sizes.fixed_point, SLOW_TARGET, progress)


def safety(results: VerifyResults, sizes: CheckSizes, seed: int, progress: Progress) -> None:
    """Check the safety filter against hostile commands in every command mode, and arms with wrong
    wiring.
    """
    results.checks += safety_checks(sizes.commands, seed, progress, sizes.jobs)
    results.checks += plant_checks(
        max(sizes.commands // COMMANDS_PER_ROUND, 1), seed, progress, sizes.jobs
    )


SUITES: dict[str, Callable[[VerifyResults, CheckSizes, int, Progress], None]] = {
    "exact": exact,
    "samplers": samplers,
    "values": values,
    "temperature": temperature,
    "fixed_points": fixed_points,
    "safety": safety,
}


def verify(
    names: Sequence[str], seed: int, progress: Progress, sizes: CheckSizes | None = None
) -> VerifyResults:
    """Run suites one after another, and judge the estimates of V of all of them.

    Args:
        names: Names of suites, keys of `SUITES`; empty: all.
        seed: Seed of weights and draws.
        progress: Called with a line of text from time to time.
        sizes: Sizes of the checks; None: the long form.

    Returns:
        All results. A failed check is among them and raises nothing.
    """
    results = VerifyResults()
    for name in names or SUITES:
        progress(f"{name}: {' '.join((SUITES[name].__doc__ or '').split())}")
        SUITES[name](results, sizes or CheckSizes(), seed, progress)
    results.checks += value_checks(results.estimates)
    return results
