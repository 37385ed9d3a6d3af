"""The suites of `sql-ros verify` in small sizes: the same functions, limits and situations as the
long ones.
"""

import json
import math

import pytest

from sql_ros.checks.verify.checks import Check
from sql_ros.checks.verify.report import failed, row, write
from sql_ros.checks.verify.sampler_checks import compare, sampler_checks, truths
from sql_ros.checks.verify.suite import CheckSizes, VerifyResults, exact, samplers, verify
from sql_ros.checks.verify.temperature import entropy_at, exact_temperature, tuned_temperature
from sql_ros.checks.verify.value_checks import (
    estimates,
    gaussian_sampler,
    gaussian_truths,
    table,
    value_checks,
)


def _quiet(_line: str) -> None:
    pass


@pytest.fixture(scope="module")
def one_dimension():
    """The mixture on the whole one-dimensional family, trained as long as a test can wait."""
    return compare("mixture", 1, 2500, 0, _quiet, draws=400_000)


def test_the_mixture_matches_every_energy_in_one_dimension_at_every_temperature(one_dimension):
    checks = sampler_checks(1, one_dimension[1])
    assert len(checks) == 7 * 3 * 2 + 3
    assert not [row(check) for check in failed(checks)]


def test_its_values_and_entropies_agree_with_quadrature(one_dimension):
    sampler, found = one_dimension
    checks = value_checks(estimates(sampler, "sampler", 64, truths(found)))
    assert not [row(check) for check in failed(checks)]


def test_the_papers_sampler_does_not_keep_the_limits():
    """The reason for the mixture: two separate modes through one continuous map."""
    _, found = compare("stein", 1, 300, 0, _quiet, draws=100_000)
    checks = sampler_checks(1, found)
    assert not any(check.judged for check in checks)
    assert sum(not check.passed for check in checks) > 10


def test_the_mixture_finds_most_of_two_dimensions_quickly():
    _, found = compare("mixture", 2, 800, 0, _quiet, draws=1_000_000)
    assert sum(item.variation < 0.15 for item in found) >= 20
    assert max(item.mode_error for item in found) < 0.5


def test_seven_dimensions_are_estimated_within_the_limits():
    sampler = gaussian_sampler("mixture", 7, 1500, 0, _quiet)
    found = estimates(sampler, "sampler", 64, gaussian_truths(7))
    assert not [row(check) for check in failed(value_checks(found))]


def test_the_uniform_estimator_is_off_by_tens_of_nats_in_seven_dimensions():
    """Facts, trap 1: -28 at 50 evaluations, -43.7 at 16, for s = 0.1."""
    sampler = gaussian_sampler("mixture", 7, 1, 0, _quiet)
    few = estimates(sampler, "uniform", 16, gaussian_truths(7))[1]
    assert few.bias == pytest.approx(-43.7, abs=2.0)
    assert "uniform, 16" in table([few])


def test_truncated_gaussians_have_their_closed_form():
    for size, truth in ((1, gaussian_truths(1)[1]), (7, gaussian_truths(7)[1])):
        assert truth.value == pytest.approx(size * math.log(0.1 * math.sqrt(2 * math.pi)), abs=1e-6)
        assert truth.entropy == pytest.approx(
            size * 0.5 * math.log(2 * math.pi * math.e * 0.01), abs=1e-6
        )


def test_exact_temperature_has_the_entropy_asked_for():
    assert entropy_at(exact_temperature(-0.3)) == pytest.approx(-0.3, abs=1e-6)
    assert entropy_at(1000.0) == pytest.approx(math.log(2), abs=1e-3)


def test_tuned_temperature_in_one_dimension():
    (check,) = tuned_temperature(1, 1500, 0, _quiet)
    assert check.passed


def test_a_report_says_what_held_and_what_did_not(tmp_path):
    results = VerifyResults(
        checks=[
            Check("g", "first: size", 1.0, 2.0),
            Check("g", "second: size", 3.0, 2.0),
            Check("h", "beside", 9.0, 1.0, judged=False),
        ]
    )
    results.estimates = estimates(
        gaussian_sampler("mixture", 3, 1, 0, _quiet), "uniform", 16, gaussian_truths(3)
    )
    write(results, tmp_path, seed=4, wall_s=1.5)
    content = json.loads((tmp_path / "verify.json").read_text())
    assert content["figures"] == {"checks": 2.0, "failed": 1.0, "wall_s": 1.5}
    assert [check["passed"] for check in content["checks"]] == [True, False, False]
    text = (tmp_path / "verify.md").read_text()
    assert "1 of 2 checks hold" in text
    assert "**fails**" in text
    assert not (tmp_path / "samplers.png").exists()


def test_the_picture_shows_every_sampler_beside_the_exact_density(tmp_path):
    results = VerifyResults()
    samplers(results, CheckSizes(sampler=5, draws=2000), 0, _quiet, kinds=("mixture",))
    write(results, tmp_path, seed=0, wall_s=0.0)
    assert (tmp_path / "samplers.png").stat().st_size > 20_000
    assert set(results.densities) == {0.1, 1.0}


def test_suites_are_run_by_name():
    lines: list[str] = []
    results = verify(["exact"], 0, lines.append)
    assert lines[0].startswith("exact: ")
    same = VerifyResults()
    exact(same, CheckSizes(), 0, _quiet)
    assert [check.value for check in results.checks] == [check.value for check in same.checks]
