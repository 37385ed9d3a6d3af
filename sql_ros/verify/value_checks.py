"""Bias and spread of the soft value's estimate, and of the entropy's, against quadrature and Gaussian closed forms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sql_ros.core.losses import boltzmann_entropy, importance_weights, soft_value
from sql_ros.verify.checks import Check, Progress
from sql_ros.verify.samplers import Situation, TrainedSampler

CENTRE = 0.3
DEVIATIONS = (0.3, 0.1)
EVALUATIONS = (16, 64)  # of Q per state
REPEATS = 2000  # estimates per situation


@dataclass(frozen=True)
class Estimate:
    """How far estimates of V and of the entropy are from the truth in one situation, everything in nats."""

    proposal: str
    size: int
    situation: str
    evaluations: int
    bias: float
    deviation: float
    entropy_error: float


@dataclass(frozen=True)
class Truth:
    """A situation with its exact V [nats] and entropy [nats]."""

    name: str
    value: float
    entropy: float


def estimates(sampler: TrainedSampler, proposal: str, evaluations: int, truths: Sequence[Truth]) -> list[Estimate]:
    """V in every situation, `REPEATS` times with so many evaluations of Q."""
    q, log_density, temperature = sampler.probe(proposal, evaluations, REPEATS)
    name = "uniform" if proposal == "uniform" else sampler.kind
    found = []
    for index, truth in enumerate(truths):
        alpha = temperature[index]
        value = soft_value(q[index], log_density[index], alpha.squeeze())
        weights = importance_weights(q[index], log_density[index], alpha)
        entropy = boltzmann_entropy(q[index], value, weights, alpha.squeeze())
        error = value.double() / float(alpha) - truth.value
        spread, missed = float(error.std()), abs(float(entropy.mean()) - truth.entropy)
        found.append(Estimate(name, sampler.size, truth.name, evaluations, float(error.mean()), spread, missed))
    return found


def gaussian_truths(size: int) -> list[Truth]:
    """Q = -|a - CENTRE|^2 / (2 s^2) on the box at temperature 1: A times the one-dimensional integral."""
    truths = []
    for deviation in DEVIATIONS:
        low, high = (-1.0 - CENTRE) / deviation, (1.0 - CENTRE) / deviation
        share = 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
        log_z = math.log(deviation * math.sqrt(2 * math.pi) * share)
        # E[x^2] / 2 of the truncated standard normal, by parts
        density = [math.exp(-edge * edge / 2) / math.sqrt(2 * math.pi) for edge in (low, high)]
        energy = 0.5 * (1.0 + (low * density[0] - high * density[1]) / share)
        truths.append(Truth(f"Gaussian s = {deviation:g}", size * log_z, size * (log_z + energy)))
    return truths


def gaussian_sampler(kind: str, size: int, updates: int, seed: int, progress: Progress) -> TrainedSampler:
    """A sampler trained on the Gaussians of `gaussian_truths`."""

    def situation(deviation: float) -> Situation:
        return Situation(lambda action: -((action - CENTRE) / deviation).square().sum(-1) / 2, 1.0)

    return TrainedSampler(kind, [situation(deviation) for deviation in DEVIATIONS], size, updates, seed, progress)


def value_checks(found: Sequence[Estimate]) -> list[Check]:
    """The limits hold for the mixture at 64 evaluations; fewer evaluations and other proposals stand beside it."""
    checks = []
    for item in found:
        group = f"soft value by '{item.proposal}', A = {item.size}"
        judged = item.proposal == "mixture" and item.evaluations == max(EVALUATIONS)
        sharp = item.situation == f"Gaussian s = {min(DEVIATIONS):g}"
        name = f"{item.situation}, {item.evaluations} evaluations"
        checks += [
            Check(group, f"{name}: bias, absolute [nat]", abs(item.bias), 0.5 if sharp else 0.1, judged=judged),
            Check(group, f"{name}: standard deviation [nat]", item.deviation, 0.5 if sharp else 0.3, judged=judged),
            Check(group, f"{name}: error of the mean entropy [nat]", item.entropy_error, 0.5 if sharp else 0.1, judged=judged),
        ]
    return checks


def table(found: Sequence[Estimate]) -> str:
    """Bias +- standard deviation [nat] by proposal, as Markdown: a row per situation."""
    columns = sorted({(item.proposal, item.evaluations) for item in found}, key=lambda c: (c[0] != "mixture", c))
    cells = {(item.size, item.situation, item.proposal, item.evaluations): f"{item.bias:+.3f} ± {item.deviation:.3f}" for item in found}
    rows = list(dict.fromkeys((item.size, item.situation) for item in found))
    lines = ["| A | situation | " + " | ".join(f"{proposal}, {count}" for proposal, count in columns) + " |"]
    lines.append("|" + "---|" * (len(columns) + 2))
    lines += [f"| {size} | {name} | " + " | ".join(cells.get((size, name, *c), "") for c in columns) + " |" for size, name in rows]
    return "\n".join(lines)
