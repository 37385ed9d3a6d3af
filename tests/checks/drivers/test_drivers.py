"""The rows of `sql-ros verify drivers`: the stack, as real processes, beside a driver. `make test`
plays a dozen of them.

A row judges the arm in real time, so it can fail because another process took the machine. A row
that fails is played once more; a fault of the stack fails again. The rows at 1000 Hz need the
machine for themselves and are left to `sql-ros verify drivers --jobs 1`.
"""

import warnings

import pytest

from sql_ros.checks.drivers.table import SHORT, choose
from sql_ros.checks.drivers.verify import play_rows, write_policies

pytestmark = pytest.mark.stack
ROWS = [pytest.param(row, id=str(row)) for row in choose(()) if row.name != "rate_1000"]


@pytest.fixture(scope="session")
def policies(tmp_path_factory):
    return write_policies(tmp_path_factory.mktemp("policies"))


@pytest.mark.short(*SHORT)
@pytest.mark.parametrize("row", ROWS)
def test_the_stack_is_safe_beside_a_driver(row, policies, tmp_path):
    (outcome,) = play_rows([row], policies, tmp_path / "first", 1, print)
    if outcome.state == "failed":
        warnings.warn(f"{row} failed and is played once more: {outcome.reason}", stacklevel=1)
        (outcome,) = play_rows([row], policies, tmp_path / "second", 1, print)
    if outcome.state == "not run":
        pytest.skip(outcome.reason)
    assert outcome.state == "passed", outcome.reason
