"""Energies in one and two dimensions with exact Boltzmann densities on a grid, which a sampler must
match.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sql_ros.checks.verify.tabular import FloatArray

BINS = 64  # of a histogram, per axis
FINER = 8  # points of the quadrature per bin and axis
SMALLEST_MODE = 0.02  # smallest exact mass of a mode whose error is judged


@dataclass(frozen=True)
class Energy:
    """Q as a function of the action alone.

    Attributes:
        name: Shape of Q in words.
        size: Components of the action, A: 1 or 2.
        q: Maps actions (..., A) in [-1, 1]^A to Q (...).
        mode: Maps actions (..., A) to the number of the mode that each belongs to (...), from 0.
    """

    name: str
    size: int
    q: Callable[[Tensor], Tensor]
    mode: Callable[[Tensor], Tensor]

    def masses(self, temperature: float) -> FloatArray:
        """Return the exact probability of every bin under exp(Q / alpha) / Z.

        Args:
            temperature: alpha.

        Returns:
            Probabilities with one axis of BINS per action component; they sum to 1.
        """
        logits = self.q(_grid(self.size)) / temperature
        mass = torch.exp(logits - logits.max()).double()
        blocks = mass.view(*(n for _ in range(self.size) for n in (BINS, FINER)))
        binned = blocks.sum(dim=tuple(range(1, 2 * self.size, 2)))
        return (binned / binned.sum()).numpy()

    def mode_masses(self, temperature: float) -> FloatArray:
        """Return the exact probability of every mode under exp(Q / alpha) / Z.

        Args:
            temperature: alpha.

        Returns:
            Probabilities (number of modes,); they sum to 1.
        """
        grid = _grid(self.size)
        logits = self.q(grid) / temperature
        mass = torch.exp(logits - logits.max()).double()
        counted = torch.bincount(self.mode(grid).flatten(), weights=mass.flatten())
        return (counted / counted.sum()).numpy()

    def value_and_entropy(self, temperature: float) -> tuple[float, float]:
        """Return the exact V and the entropy of the Boltzmann policy, by quadrature.

        Args:
            temperature: alpha.

        Returns:
            V [reward] and entropy [nat].
        """
        q = self.q(_grid(self.size)).double() / temperature
        cell = (2.0 / (BINS * FINER)) ** self.size
        log_z = float(torch.logsumexp(q.flatten(), 0) + np.log(cell))
        entropy = log_z - float((torch.exp(q - log_z) * q).sum() * cell)
        return temperature * log_z, entropy


def total_variation(energy: Energy, temperature: float, action: Tensor) -> float:
    """Return half the L1 distance between the histogram of a sample and the exact masses, from 0 to
    1.

    Args:
        energy: The energy.
        temperature: alpha.
        action: The sample (K, A).
    """
    exact = energy.masses(temperature)
    return 0.5 * float(np.abs(histogram(energy.size, action) - exact).sum())


def histogram(size: int, action: Tensor) -> FloatArray:
    """Return the share of the actions in every bin.

    Args:
        size: Components of the action, A: 1 or 2.
        action: Actions (K, A); one outside the box counts in the nearest bin.

    Returns:
        Shares with one axis of BINS per action component; they sum to 1.
    """
    index = ((action + 1.0) / 2.0 * BINS).long().clamp(0, BINS - 1)
    flat = index[:, 0] if size == 1 else index[:, 0] * BINS + index[:, 1]
    counted: FloatArray = torch.bincount(flat, minlength=BINS**size).double().numpy() / len(action)
    return counted.reshape((BINS,) * size)


def mode_error(energy: Energy, temperature: float, action: Tensor) -> float:
    """Return the largest relative error of a mode's mass in a sample.

    Modes with an exact mass below `SMALLEST_MODE` are left out.

    Args:
        energy: The energy.
        temperature: alpha.
        action: The sample (K, A).
    """
    exact = energy.mode_masses(temperature)
    counted = torch.bincount(energy.mode(action), minlength=len(exact)).double().numpy() / len(
        action
    )
    counts = exact >= SMALLEST_MODE
    return float(np.abs(counted[counts] / exact[counts] - 1.0).max())


def family(size: int) -> list[Energy]:
    """Return the energies of all shapes.

    The standard deviations in their code are those at temperature 1.

    Args:
        size: Components of the action, A: 1 or 2.
    """
    return _one_dimensional() if size == 1 else _two_dimensional()


def _one_dimensional() -> list[Energy]:
    """Return the seven energies in one dimension: one mode, two modes (equal, of unequal width, of
    unequal height), a spike, a mode at the boundary, and a constant.
    """
    return [
        Energy("one mode", 1, lambda a: _bump(a, [0.3], [0.4]), _halves),
        Energy(
            "two equal modes",
            1,
            lambda a: _higher(_bump(a, [-0.5], [0.2]), _bump(a, [0.5], [0.2])),
            _halves,
        ),
        Energy(
            "two modes of unequal width",
            1,
            lambda a: _higher(_bump(a, [-0.5], [0.1]), _bump(a, [0.5], [0.25])),
            _halves,
        ),
        Energy(
            "two modes of unequal height",
            1,
            lambda a: _higher(_bump(a, [-0.5], [0.2]) - 0.15, _bump(a, [0.5], [0.2])),
            _halves,
        ),
        Energy("spike", 1, lambda a: _bump(a, [-0.4], [0.08]), _halves),
        Energy("mode at the boundary", 1, lambda a: 3.0 * a[..., 0], _halves),
        Energy("constant", 1, lambda a: 0.0 * a[..., 0], _halves),
    ]


def _two_dimensional() -> list[Energy]:
    """Return the eight energies in two dimensions: one mode, two modes (equal, of unequal width, of
    unequal height), a ring, a narrow ridge, a mode at the boundary, and a constant.
    """
    return [
        Energy("one mode", 2, lambda a: _bump(a, [0.3, -0.2], [0.4, 0.2]), _halves),
        Energy(
            "two equal modes",
            2,
            lambda a: _higher(_bump(a, [-0.5, 0.3], [0.2, 0.2]), _bump(a, [0.5, -0.3], [0.2, 0.2])),
            _halves,
        ),
        Energy(
            "two modes of unequal width",
            2,
            lambda a: _higher(
                _bump(a, [-0.5, 0.0], [0.15, 0.15]), _bump(a, [0.5, 0.2], [0.25, 0.2])
            ),
            _halves,
        ),
        Energy(
            "two modes of unequal height",
            2,
            lambda a: _higher(
                _bump(a, [-0.5, 0.0], [0.2, 0.2]) - 0.15, _bump(a, [0.5, 0.2], [0.2, 0.2])
            ),
            _halves,
        ),
        Energy("ring", 2, lambda a: -((a.norm(dim=-1) - 0.6) / 0.15).square() / 2, _quadrants),
        Energy(
            "narrow ridge",
            2,
            lambda a: -((a[..., 0] - a[..., 1]) / 0.1).square() / 2 - a[..., 0].square(),
            _halves,
        ),
        Energy(
            "mode at the boundary", 2, lambda a: 3.0 * a[..., 0] - a[..., 1].square(), _quadrants
        ),
        Energy("constant", 2, lambda a: 0.0 * a.sum(-1), _quadrants),
    ]


def _bump(action: Tensor, centre: list[float], deviation: list[float]) -> Tensor:
    """Return the log density of a Gaussian without its constant: (..., A) -> (...).

    Args:
        action: Actions (..., A).
        centre: Mean of each component.
        deviation: Standard deviation of each component.
    """
    return -((action - torch.tensor(centre)) / torch.tensor(deviation)).square().sum(-1) / 2


def _higher(first: Tensor, second: Tensor) -> Tensor:
    """Return the higher of two energies at each action (...).

    Unlike the log of a sum of densities, the maximum keeps the depth between the modes at every
    temperature.
    """
    return torch.maximum(first, second)


def _halves(action: Tensor) -> Tensor:
    """Return 1 for actions with a positive first component, otherwise 0: (..., A) -> (...)."""
    return (action[..., 0] > 0).long()


def _quadrants(action: Tensor) -> Tensor:
    """Return the number of the quadrant of each action, 0 to 3: (..., 2) -> (...)."""
    return (action[..., 0] > 0).long() + 2 * (action[..., 1] > 0).long()


def _grid(size: int) -> Tensor:
    """Return the points of the quadrature, centres of cells: (BINS * FINER,) * A + (A,)."""
    count = BINS * FINER
    axis = (torch.arange(count) + 0.5) / count * 2.0 - 1.0
    return torch.stack(torch.meshgrid(*([axis] * size), indexing="ij"), dim=-1)
