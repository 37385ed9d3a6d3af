"""What is made of trials: intervals, breaking sizes, pairs, tables that survive."""

import json
import math
from dataclasses import replace

import pytest

from sql_ros.common.errors import ConfigError
from sql_ros.trials.report import (
    breaking_sizes,
    figures_of,
    reference,
    sign_test,
    wilson,
    write_trial_report,
)
from sql_ros.trials.table import append_rows, describe, read_rows
from sql_ros.trials.trial import TrialResult


def _row(kind="push", size=20.0, repeat=0, success=True, recovery_s=1.0) -> TrialResult:
    return TrialResult(
        kind,
        size,
        repeat,
        0,
        success,
        recovery_s if success else math.nan,
        0.01,
        3,
        "ab" * 32,
        outcome="success" if success else "time-out",
    )


ROWS = [
    *[_row("undisturbed", 0.0, i, recovery_s=2.0) for i in range(4)],
    *[_row("push", 20.0, i, i != 0, 0.5 * i) for i in range(4)],
    *[_row("push", 40.0, i, i == 0) for i in range(4)],
]


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (98, 100, 0.9300, 0.9945),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilsons_interval_is_that_of_the_tables(successes, trials, low, high):
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("better", "worse", "chance"),
    [(10, 0, 2 / 1024), (0, 10, 2 / 1024), (0, 0, 1.0), (3, 3, 1.0), (5, 1, 14 / 64)],
)
def test_the_sign_test_is_exact(better, worse, chance):
    assert sign_test(better, worse) == pytest.approx(chance)


def test_figures_are_those_of_the_smallest_sizes():
    figures = figures_of(ROWS)
    assert len(reference(ROWS)) == 8
    assert (figures["success_rate"], figures["success_push"], figures["success_undisturbed"]) == (
        7 / 8,
        3 / 4,
        1.0,
    )
    assert figures["all_success_rate"] == 8 / 12
    assert figures["recovery_p50_s"] == 2.0
    assert figures["breaks_at_push"] == 40.0


def test_it_breaks_at_the_smallest_size_that_fewer_than_half_recover_from():
    assert breaking_sizes(ROWS) == {"undisturbed": math.inf, "push": 40.0}


def test_the_report_shows_every_policy_and_compares_them_in_pairs(tmp_path):
    worse = [_row(row.kind, row.size, row.repeat, False) for row in ROWS]
    figures = write_trial_report(
        tmp_path, {"ours": ROWS, "theirs": worse}, task="t", command="as typed", seed=3
    )
    text = (tmp_path / "report.md").read_text()
    for part in (
        "as typed",
        "## ours",
        "**7 of 8**",
        "push: at 40 N",
        "| theirs | 12 | 8 | 0 | 0.00781 |",
        "success.png",
    ):
        assert part in text
    assert figures["theirs/success_rate"] == 0.0
    content = json.loads((tmp_path / "figures.json").read_text())
    assert (content["seed"], content["command"]) == (3, "as typed")
    for name in ("success.png", "recovery.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"


def test_figures_of_a_policy_that_never_recovers_are_json_all_the_same(tmp_path):
    never = [_row(row.kind, row.size, row.repeat, False) for row in ROWS]
    write_trial_report(tmp_path, {"never": never}, task="t", command="as typed", seed=3)
    figures = json.loads((tmp_path / "figures.json").read_text(), parse_constant=pytest.fail)[
        "figures"
    ]
    assert figures["success_rate"] == 0.0
    assert "recovery_p50_s" not in figures


def test_a_fifth_policy_is_in_the_pictures_too(tmp_path):
    slower = [_row(row.kind, row.size, row.repeat, row.repeat != 1, 9.0) for row in ROWS]
    for name, last in (("one", ROWS), ("other", slower)):
        write_trial_report(
            tmp_path / name,
            {**dict.fromkeys("abcd", ROWS), "e": last},
            task="t",
            command="as typed",
            seed=3,
        )
    for picture in ("success.png", "recovery.png"):
        assert (tmp_path / "one" / picture).read_bytes() != (
            tmp_path / "other" / picture
        ).read_bytes()


def test_a_table_comes_back_as_it_was_written_and_is_gone_on_with(tmp_path):
    path = tmp_path / "folder" / "trials.csv"
    append_rows(path, ROWS[:5])
    append_rows(path, ROWS[5:])
    read = read_rows(path)
    assert [r.recovery_s for r in read if r.success] == [r.recovery_s for r in ROWS if r.success]
    assert [(r.kind, r.size, r.repeat, r.success, r.outcome) for r in read] == [
        (r.kind, r.size, r.repeat, r.success, r.outcome) for r in ROWS
    ]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "kind,size\npush,x\n"])
def test_a_file_that_is_no_table_is_named(tmp_path, text):
    path = tmp_path / "odd.csv"
    path.write_text(text)
    if not text:
        assert read_rows(path) == []
        return
    with pytest.raises(ConfigError, match=r"odd\.csv is no table of trials"):
        read_rows(path)


def test_a_trial_in_words():
    assert describe(_row()) == "push 20 N: recovered in 1.0 s, 10 mm away at most, 3 interventions"
    assert describe(_row("undisturbed", 0.0, success=False)).startswith(
        "undisturbed: did not recover"
    )


def test_the_report_says_how_pushes_by_hand_were_detected(tmp_path):
    by_hand = [replace(_row(repeat=i), push_seen_by="motion") for i in range(3)]
    write_trial_report(tmp_path, {"a": by_hand}, task="t", command="c", seed=0)
    assert (
        "3 pushes by hand 3 were detected by motion alone" in (tmp_path / "report.md").read_text()
    )
    write_trial_report(tmp_path, {"a": ROWS}, task="t", command="c", seed=0)
    assert "by hand" not in (tmp_path / "report.md").read_text()


def test_a_table_of_a_former_release_is_gone_on_with(tmp_path):
    """It has no columns for how pushes were detected and episodes ended."""
    table = tmp_path / "trials.csv"
    append_rows(table, ROWS[:1])
    lines = [line.rsplit(",", 2)[0] for line in table.read_text().splitlines()]
    table.write_text("\n".join(lines) + "\n")
    append_rows(table, [replace(ROWS[1], push_seen_by="motion")])
    read = read_rows(table)
    assert [(row.push_seen_by, row.outcome) for row in read] == [("", "")] * 2
