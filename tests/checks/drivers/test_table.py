"""The table of driver cases, and its figures."""

import importlib.util

import pytest

from sql_ros.checks.drivers.arms import ARMS
from sql_ros.checks.drivers.cases import CASES
from sql_ros.checks.drivers.row import RowResult, play_row
from sql_ros.checks.drivers.table import SHORT, choose, rows
from sql_ros.checks.drivers.verify import figures_of, table
from sql_ros.common.errors import ConfigError


def test_every_arm_and_every_case_is_in_the_table():
    table = list(rows())
    assert {row.arm.name for row in table} == set(ARMS)
    assert {row.name for row in table} == set(CASES)
    assert {(row.arm.name, row.mode) for row in table} == {
        (arm, mode) for arm in ARMS for mode in ("play", "train", "trials")
    }


def test_rows_are_chosen_by_parts_of_their_names():
    assert {str(row) for row in choose(SHORT)} >= set(SHORT)
    assert {row.arm.name for row in choose(["ur5e/train"])} == {"ur5e"}
    with pytest.raises(ConfigError, match="--only dance"):
        choose(["dance"])


def test_the_table_has_a_line_per_row_with_its_reason():
    text = table([RowResult("a/b/c", "failed", "moved", {"first_step": 2.0, "step": 0.5})])
    assert "| a/b/c | failed | 2.00 | 0.00 | moved |" in text


def test_figures_count_what_failed_and_apart_from_it_what_was_not_run():
    outcomes = [
        RowResult("a", "passed", figures={"first_step": 0.5}),
        RowResult("b", "failed", "moved", {"first_step": 2.0}),
        RowResult("c", "not run", "messages missing"),
    ]
    figures = figures_of(outcomes)
    assert figures["driver_cases"] == 2
    assert figures["driver_cases_failed"] == 1
    assert figures["driver_cases_not_run"] == 1
    assert figures["driver_largest_first_step"] == 2.0


@pytest.mark.skipif(
    importlib.util.find_spec("intera_core_msgs") is not None, reason="it is installed"
)
def test_a_case_whose_messages_are_missing_says_so(tmp_path):
    (row,) = choose(["sawyer_intera/play/nominal"])
    outcome = play_row(row, {}, tmp_path, 0)
    assert outcome.state == "not run"
    assert "intera_core_msgs" in outcome.reason
