"""The fuzz of the decoders in this process, and how it judges a case.

The long form, with running nodes, is `sql-ros fuzz`.
"""

import numpy as np
import pytest

from sql_ros.checks.stress import fuzz
from sql_ros.checks.stress.fuzz import FuzzCounts, Target, attack_targets, figures, judge
from sql_ros.checks.stress.mutations import make_targets
from sql_ros.common.errors import MessageError, SqlRosError

CASES = 400
WITH_PROCESSES = {"yaml_params", "launch_argument"}  # the preflight starts some


class _WordyError(SqlRosError):
    def __str__(self) -> str:
        return "x" * (fuzz.LONGEST_REASON + 1)


def test_decoders_refuse_hostile_input_with_a_readable_reason(tmp_path):
    targets = [each for each in make_targets(tmp_path) if each.name not in WITH_PROCESSES]
    counts = attack_targets(targets, CASES, 5)
    assert not {name: each.first for name, each in counts.items() if not each.is_clean()}
    assert sum(each.cases for each in counts.values()) == pytest.approx(CASES, abs=len(counts))
    assert all(each.refused for each in counts.values())


def test_a_case_that_raises_any_other_error_is_a_crash(capsys):
    calls = iter([None, MessageError("too short"), ValueError("on purpose")])

    def attack(_: np.random.Generator) -> None:
        if error := next(calls):
            raise error

    counts = fuzz._attack(Target("part", 1.0, attack), 3, np.random.default_rng(0))
    assert (counts.taken, counts.refused, counts.crashed) == (1, 1, 1)
    assert "ValueError: on purpose" in counts.first
    assert not counts.is_clean()
    fuzz._show("part", counts)
    assert "1 crashed, 0 hung, 0 unreadable" in capsys.readouterr().out


@pytest.mark.parametrize("error", [MessageError(""), _WordyError()], ids=["none", "too long"])
def test_a_refusal_without_a_readable_reason_counts_as_wrong(error):
    def refuse() -> None:
        raise error

    counts = FuzzCounts()
    judge(counts, refuse)
    assert (counts.refused, counts.unreadable) == (1, 1)
    assert counts.first.startswith(f"{len(str(error))} characters")
    assert not counts.is_clean()


def test_a_case_that_takes_too_long_hangs(monkeypatch):
    monkeypatch.setattr(fuzz, "HANG_S", 0.0)
    counts = FuzzCounts()
    judge(counts, lambda: None)
    assert (counts.taken, counts.hung) == (1, 1)
    assert counts.first.startswith("took ")


def test_figures_add_up_the_targets_and_list_each():
    values = figures({"a": FuzzCounts(taken=1, refused=2), "b": FuzzCounts(refused=3, crashed=1)})
    assert (values["cases"], values["refused"], values["crashed"]) == (7, 5, 1)
    assert (values["refused_b"], values["crashed_b"], values["taken_a"]) == (3, 1, 1)
