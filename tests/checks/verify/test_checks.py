"""A check is passed by numbers on the right side of its limit, and by nothing else."""

import math

import pytest

from sql_ros.checks.verify.checks import Check
from sql_ros.common.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "kind", "passed"),
    [
        (0.9, "at most", True),
        (1.1, "at most", False),
        (1.1, "at least", True),
        (0.9, "at least", False),
    ],
)
def test_a_check_passes_on_the_right_side_of_its_limit(value, kind, passed):
    assert Check("g", "n", value, 1.0, kind).passed is passed


@pytest.mark.parametrize("kind", ["at most", "at least"])
def test_nan_passes_no_check(kind):
    assert not Check("g", "n", math.nan, 1.0, kind).passed


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ConfigError, match="at most, at least"):
        Check("g", "n", 0.0, 1.0, "about")
