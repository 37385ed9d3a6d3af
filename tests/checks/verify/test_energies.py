"""The exact answers themselves, against other ways to get them."""

import math

import numpy as np
import pytest
import torch

from sql_ros.checks.verify.energies import (
    BINS,
    Energy,
    family,
    histogram,
    mode_error,
    total_variation,
)

SIZES = [1, 2]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_masses_sum_to_one_over_bins_and_over_modes(size, temperature):
    for energy in family(size):
        assert energy.masses(temperature).sum() == pytest.approx(1.0)
        assert energy.mode_masses(temperature).sum() == pytest.approx(1.0)


def test_constant_energy_has_the_volume_for_value_and_entropy():
    for size in SIZES:
        constant = next(energy for energy in family(size) if energy.name == "constant")
        value, entropy = constant.value_and_entropy(0.5)
        assert value == pytest.approx(0.5 * size * math.log(2), abs=1e-5)
        assert entropy == pytest.approx(size * math.log(2), abs=1e-5)


def test_value_and_entropy_of_a_narrow_gaussian_are_the_textbooks():
    spike = Energy(
        "spike", 1, lambda a: -(a[..., 0] / 0.05).square() / 2, lambda a: (a[..., 0] > 0).long()
    )
    value, entropy = spike.value_and_entropy(1.0)
    assert value == pytest.approx(math.log(0.05 * math.sqrt(2 * math.pi)), abs=1e-4)
    assert entropy == pytest.approx(0.5 * math.log(2 * math.pi * math.e * 0.05**2), abs=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_exact_samples_pass_and_others_do_not(size):
    """By rejection from uniform actions, and uniform actions themselves."""
    generator = torch.Generator().manual_seed(0)
    energy = next(energy for energy in family(size) if energy.name == "two modes of unequal width")
    uniform = 2 * torch.rand(2_000_000, size, generator=generator) - 1
    q = energy.q(uniform)
    kept = uniform[torch.rand(len(q), generator=generator) < torch.exp(q - q.max())]
    assert total_variation(energy, 1.0, kept) < (0.01 if size == 1 else 0.06)
    assert mode_error(energy, 1.0, kept) < 0.02
    assert total_variation(energy, 1.0, uniform) > 0.25
    assert mode_error(energy, 1.0, uniform) > 0.2


def test_histogram_counts_the_edges_of_the_box_into_the_last_bins():
    counted = histogram(1, torch.tensor([[-1.0], [1.0], [1.0], [0.001]]))
    assert (counted[0], counted[BINS - 1], counted[BINS // 2]) == (0.25, 0.5, 0.25)


def test_every_family_has_modes_that_compete_at_every_temperature():
    for size in SIZES:
        energy = next(
            energy for energy in family(size) if energy.name == "two modes of unequal height"
        )
        shares = [energy.mode_masses(temperature).min() for temperature in (0.1, 1.0, 10.0)]
        assert min(shares) > 0.1
        assert np.ptp(shares) > 0.05
