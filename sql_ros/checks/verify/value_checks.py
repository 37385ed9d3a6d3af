"""Bias and spread of the estimates of soft value and entropy, against quadrature and Gaussian
closed forms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sql_ros.checks.verify.checks import Check, Progress
from sql_ros.checks.verify.samplers import Situation, TrainedSampler
from sql_ros.common.markdown import markdown_table
from sql_ros.learning.losses import boltzmann_entropy, importance_weights, soft_value

CENTRE = 0.3
DEVIATIONS = (0.3, 0.1)
EVALUATIONS = (16, 64)  # evaluations of Q per estimate
REPEATS = 2000  # estimates per situation


@dataclass(frozen=True)
class EstimateErrors:
    """Errors of the estimates of V and of the entropy in one situation, all in [nat], V divided by
    alpha.

    Attributes:
        proposal: "uniform", or the kind of the sampler that drew the actions.
        size: Components of the action, A.
        situation: Name of the situation.
        evaluations: Actions at which Q is evaluated per estimate.
        bias: Mean error of V.
        deviation: Standard deviation of V over the estimates.
        entropy_error: Absolute error of the mean estimate of the entropy.
    """

    proposal: str
    size: int
    situation: str
    evaluations: int
    bias: float
    deviation: float
    entropy_error: float


@dataclass(frozen=True)
class ExactAnswers:
    """The exact answers of a situation.

    Attributes:
        name: Name of the situation.
        value: V divided by alpha [nat].
        entropy: Entropy of the Boltzmann policy [nat].
    """

    name: str
    value: float
    entropy: float


def estimates(
    sampler: TrainedSampler, proposal: str, evaluations: int, truths: Sequence[ExactAnswers]
) -> list[EstimateErrors]:
    """Estimate V and the entropy `REPEATS` times in every situation, and compare them with the
    exact answers.

    Args:
        sampler: The trained sampler.
        proposal: "sampler": actions of the sampler, a quarter of them uniform; "uniform": uniform
            actions only.
        evaluations: Actions at which Q is evaluated per estimate.
        truths: Exact answers in the order of the sampler's situations.

    Returns:
        Errors in the same order.
    """
    q, log_density, temperature = sampler.probe(proposal, evaluations, REPEATS)
    name = "uniform" if proposal == "uniform" else sampler.kind
    found = []
    for index, truth in enumerate(truths):
        alpha = temperature[index]
        value = soft_value(q[index], log_density[index], alpha.squeeze())
        weights = importance_weights(q[index], log_density[index], alpha)
        entropy = boltzmann_entropy(q[index], value, weights, alpha.squeeze())
        error = value.double() / float(alpha) - truth.value
        spread = float(error.std())
        missed = abs(float(entropy.mean()) - truth.entropy)
        found.append(
            EstimateErrors(
                name, sampler.size, truth.name, evaluations, float(error.mean()), spread, missed
            )
        )
    return found


def gaussian_truths(size: int) -> list[ExactAnswers]:
    """Return the exact answers of Gaussian energies on the box [-1, 1]^A at temperature 1.

    The energy is Q = -|a - CENTRE|^2 / (2 s^2). V and entropy are A times those of one dimension.

    Args:
        size: Components of the action, A.

    Returns:
        One answer per standard deviation s in `DEVIATIONS`.
    """
    truths = []
    for deviation in DEVIATIONS:
        low = (-1.0 - CENTRE) / deviation
        high = (1.0 - CENTRE) / deviation
        share = 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
        log_z = math.log(deviation * math.sqrt(2 * math.pi) * share)
        # E[x^2] / 2 of the truncated standard normal, by parts
        density = [math.exp(-edge * edge / 2) / math.sqrt(2 * math.pi) for edge in (low, high)]
        energy = 0.5 * (1.0 + (low * density[0] - high * density[1]) / share)
        truths.append(
            ExactAnswers(f"Gaussian s = {deviation:g}", size * log_z, size * (log_z + energy))
        )
    return truths


def gaussian_sampler(
    kind: str, size: int, updates: int, seed: int, progress: Progress
) -> TrainedSampler:
    """Train a sampler on the energies of `gaussian_truths`, in the same order.

    Args:
        kind: Kind of the sampler, one of `samplers.KINDS`.
        size: Components of the action, A.
        updates: Gradient steps.
        seed: Seed of weights and draws.
        progress: Called with a line of text from time to time.
    """

    def situation(deviation: float) -> Situation:
        """Return the situation of a Gaussian energy with a standard deviation."""
        return Situation(lambda action: -((action - CENTRE) / deviation).square().sum(-1) / 2, 1.0)

    return TrainedSampler(
        kind, [situation(deviation) for deviation in DEVIATIONS], size, updates, seed, progress
    )


def value_checks(found: Sequence[EstimateErrors]) -> list[Check]:
    """Return the checks of the estimates; only those by the mixture with the most evaluations are
    judged.

    The limits are wider for the narrowest Gaussian.

    Args:
        found: Errors of estimates; may be empty.

    Returns:
        Three checks per estimate: absolute bias, standard deviation, error of the entropy [nat].
    """
    checks = []
    for item in found:
        group = f"soft value by '{item.proposal}', A = {item.size}"
        judged = item.proposal == "mixture" and item.evaluations == max(EVALUATIONS)
        sharp = item.situation == f"Gaussian s = {min(DEVIATIONS):g}"
        name = f"{item.situation}, {item.evaluations} evaluations"
        checks += [
            Check(
                group,
                f"{name}: bias, absolute [nat]",
                abs(item.bias),
                0.5 if sharp else 0.1,
                judged=judged,
            ),
            Check(
                group,
                f"{name}: standard deviation [nat]",
                item.deviation,
                0.5 if sharp else 0.3,
                judged=judged,
            ),
            Check(
                group,
                f"{name}: error of the mean entropy [nat]",
                item.entropy_error,
                0.5 if sharp else 0.1,
                judged=judged,
            ),
        ]
    return checks


def table(found: Sequence[EstimateErrors]) -> str:
    """Return bias and standard deviation [nat] as a Markdown table, one row per situation.

    A column is a proposal with a number of evaluations; the mixture comes first. The cell of a
    missing estimate is empty.

    Args:
        found: Errors of estimates.
    """
    columns = sorted(
        {(item.proposal, item.evaluations) for item in found}, key=lambda c: (c[0] != "mixture", c)
    )
    cells = {
        (
            item.size,
            item.situation,
            item.proposal,
            item.evaluations,
        ): f"{item.bias:+.3f} ± {item.deviation:.3f}"
        for item in found
    }
    rows = list(dict.fromkeys((item.size, item.situation) for item in found))
    header = ["A", "situation", *(f"{proposal}, {count}" for proposal, count in columns)]
    return markdown_table(
        header,
        [
            [str(size), name, *(cells.get((size, name, *column), "") for column in columns)]
            for size, name in rows
        ],
    )
