"""All checks of the mathematics in their long form: `sql-ros verify`. The tests run the same functions in smaller sizes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sql_ros.verify.checks import Check, Progress
from sql_ros.verify.composition import composition_checks
from sql_ros.verify.fixed_points import fork, regulators
from sql_ros.verify.safety import safety_checks
from sql_ros.verify.sampler_checks import compare, picture_of, sampler_checks, truths
from sql_ros.verify.samplers import KINDS
from sql_ros.verify.tabular import Array
from sql_ros.verify.tabular_checks import tabular_checks
from sql_ros.verify.temperature import tuned_temperature
from sql_ros.verify.value_checks import EVALUATIONS, Estimate, estimates, gaussian_sampler, gaussian_truths, value_checks

PICTURE_TEMPERATURES = (0.1, 1.0)
SLOW_TARGET = {"target_rate": 0.005}  # with so many updates it can average over the noise of the last of them
VALUE_KINDS = ("mixture", "stein, skip")


@dataclass
class Findings:
    """What a suite leaves: checks, estimates of V for the table, and 2-D densities by temperature and sampler for the picture."""

    checks: list[Check] = field(default_factory=list)
    estimates: list[Estimate] = field(default_factory=list)
    densities: dict[float, dict[str, dict[str, tuple[Array, Array]]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Effort:
    """Gradient steps of each kind of check, so that tests can make do with fewer."""

    sampler: int = 6000
    gaussian: int = 3000
    temperature: int = 4000
    fixed_point: int = 6000
    commands: int = 1_000_000  # given to the safety filter
    jobs: int = os.cpu_count() or 1
    draws: int = 0  # of a trained sampler; 0: as many as its histogram needs


def exact(findings: Findings, effort: Effort, seed: int, progress: Progress) -> None:
    """Finite problems: contraction, fixed points, scale invariance, policy improvement, bounds of composition."""
    findings.checks += tabular_checks(seed) + composition_checks(seed)


def samplers(findings: Findings, effort: Effort, seed: int, progress: Progress, kinds: Sequence[str] = KINDS) -> None:
    """Densities, masses of modes, V and entropy in one and two dimensions."""
    for kind in kinds:
        for size in (1, 2):
            sampler, found = compare(kind, size, effort.sampler, seed, progress, effort.draws)
            findings.checks += sampler_checks(size, found)
            for proposal in ("sampler", "uniform") if kind == KINDS[0] else ("sampler",):
                findings.estimates += estimates(sampler, proposal, max(EVALUATIONS), truths(found))
            if size == 2:
                for temperature in PICTURE_TEMPERATURES:
                    findings.densities.setdefault(temperature, {})[kind] = picture_of(sampler, found, temperature)


def values(findings: Findings, effort: Effort, seed: int, progress: Progress) -> None:
    """V and entropy in three and seven dimensions."""
    for size in (3, 7):
        for kind in VALUE_KINDS:
            sampler = gaussian_sampler(kind, size, effort.gaussian, seed, progress)
            for proposal in ("sampler", "uniform") if kind == KINDS[0] else ("sampler",):
                for count in EVALUATIONS:
                    findings.estimates += estimates(sampler, proposal, count, gaussian_truths(size))


def temperature(findings: Findings, effort: Effort, seed: int, progress: Progress) -> None:
    """Alpha tuned to a target entropy."""
    for size in (1, 7):
        findings.checks += tuned_temperature(size, effort.temperature, seed, progress)


def fixed_points(findings: Findings, effort: Effort, seed: int, progress: Progress) -> None:
    """The whole learner on problems with known answers: soft LQR, a discretised continuous problem."""
    findings.checks += regulators(seed, effort.fixed_point, SLOW_TARGET, progress)
    findings.checks += fork(seed, effort.fixed_point, SLOW_TARGET, progress)


def safety(findings: Findings, effort: Effort, seed: int, progress: Progress) -> None:
    """The safety filter in closed loop with MuJoCo against hostile commands, in every command mode."""
    findings.checks += safety_checks(effort.commands, seed, progress, effort.jobs)


SUITES: dict[str, Callable[[Findings, Effort, int, Progress], None]] = {
    "exact": exact,
    "samplers": samplers,
    "values": values,
    "temperature": temperature,
    "fixed_points": fixed_points,
    "safety": safety,
}


def verify(names: Sequence[str], seed: int, progress: Progress, effort: Effort | None = None) -> Findings:
    """Runs suites by name; empty: all."""
    findings = Findings()
    for name in names or SUITES:
        progress(f"{name}: {SUITES[name].__doc__}")
        SUITES[name](findings, effort or Effort(), seed, progress)
    findings.checks += value_checks(findings.estimates)
    return findings
