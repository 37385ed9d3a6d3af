"""Trained samplers against exact Boltzmann densities, in one and two dimensions."""

from __future__ import annotations

from dataclasses import dataclass

from sql_ros.checks.verify.checks import Check, Progress
from sql_ros.checks.verify.energies import Energy, family, histogram, mode_error, total_variation
from sql_ros.checks.verify.samplers import KINDS, Situation, TrainedSampler
from sql_ros.checks.verify.tabular import FloatArray
from sql_ros.checks.verify.value_checks import ExactAnswers

TEMPERATURES = (0.1, 1.0, 10.0)
# actions per situation by A; the noise of the histogram alone is then a total variation of 0.003
# and 0.013 for a uniform density
DRAWS = {1: 1_000_000, 2: 4_000_000}
LARGEST_VARIATION = {1: 0.05, 2: 0.10}
LARGEST_MODE_ERROR = 0.2
PICTURE_DRAWS = 400_000
VARIANCE_ERROR = 0.03  # limit of the relative error of the variance 1/3 of uniform actions


@dataclass(frozen=True)
class Comparison:
    """Errors of a trained sampler in one situation.

    Attributes:
        kind: Kind of the sampler, one of `samplers.KINDS`.
        energy: Q as a function of the action.
        temperature: alpha.
        variation: Total variation between the histogram of the sample and the exact density.
        mode_error: Largest relative error of a mode's mass.
        variance: Variance of the action in the sample, as the mean over the components.
    """

    kind: str
    energy: Energy
    temperature: float
    variation: float
    mode_error: float
    variance: float


def compare(
    kind: str, size: int, updates: int, seed: int, progress: Progress, draws: int = 0
) -> tuple[TrainedSampler, list[Comparison]]:
    """Train one sampler on the whole family of energies at all `TEMPERATURES`, and compare it in
    every situation.

    Args:
        kind: Kind of the sampler, one of `samplers.KINDS`.
        size: Components of the action, A: 1 or 2.
        updates: Gradient steps.
        seed: Seed of weights and draws.
        progress: Called with a line of text from time to time.
        draws: Actions per situation; 0: `DRAWS`.

    Returns:
        The sampler, and the comparisons in the order of its situations.
    """
    pairs = [(energy, temperature) for energy in family(size) for temperature in TEMPERATURES]
    sampler = TrainedSampler(
        kind,
        [Situation(energy.q, temperature) for energy, temperature in pairs],
        size,
        updates,
        seed,
        progress,
    )
    found = []
    for index, (energy, temperature) in enumerate(pairs):
        action = sampler.sample(index, draws or DRAWS[size])
        variation = total_variation(energy, temperature, action)
        masses = mode_error(energy, temperature, action)
        found.append(
            Comparison(
                kind, energy, temperature, variation, masses, float(action.var(dim=0).mean())
            )
        )
    return sampler, found


def sampler_checks(size: int, found: list[Comparison]) -> list[Check]:
    """Return the checks of one sampler; only those of the mixture are judged.

    Args:
        size: Components of the action, A.
        found: Comparisons of the sampler.

    Returns:
        Per comparison the total variation and the largest error of a mode's mass; for the constant
        energy also the relative error of the variance, which is 1/3 for uniform actions.
    """
    checks = []
    for item in found:
        group = f"sampler '{item.kind}', A = {size}"
        judged = item.kind == KINDS[0]
        name = f"{item.energy.name}, alpha {item.temperature:g}"
        checks.append(
            Check(
                group,
                f"{name}: total variation",
                item.variation,
                LARGEST_VARIATION[size],
                judged=judged,
            )
        )
        checks.append(
            Check(
                group,
                f"{name}: largest error of a mode's mass",
                item.mode_error,
                LARGEST_MODE_ERROR,
                judged=judged,
            )
        )
        if item.energy.name == "constant":
            error = abs(item.variance * 3.0 - 1.0)
            checks.append(
                Check(
                    group,
                    f"{name}: error of the variance 1/3",
                    error,
                    VARIANCE_ERROR,
                    judged=judged,
                )
            )
    return checks


def truths(found: list[Comparison]) -> list[ExactAnswers]:
    """Return the exact V and entropy of every situation, by quadrature, in the same order.

    Args:
        found: Comparisons, of which energy and temperature are used.
    """
    exact = []
    for item in found:
        value, entropy = item.energy.value_and_entropy(item.temperature)
        exact.append(
            ExactAnswers(
                f"{item.energy.name}, alpha {item.temperature:g}", value / item.temperature, entropy
            )
        )
    return exact


def picture_of(
    sampler: TrainedSampler, found: list[Comparison], temperature: float
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Draw actions of a sampler at one temperature, and return densities for the picture.

    Args:
        sampler: Sampler of two-dimensional actions.
        found: Comparisons in the order of the sampler's situations.
        temperature: alpha; situations with another one are left out.

    Returns:
        Exact masses and histogram, (BINS, BINS) each, by name of the energy.
    """
    return {
        item.energy.name: (
            item.energy.masses(temperature),
            histogram(item.energy.size, sampler.sample(index, PICTURE_DRAWS)),
        )
        for index, item in enumerate(found)
        if item.temperature == temperature
    }
