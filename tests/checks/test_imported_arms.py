"""The table of imported arms: from runs that exist, and of an arm that cannot be imported.

The imports and the trainings themselves take an hour: `python -m sql_ros.checks.imported_arms`.
"""

import json
import sys

import pytest

from sql_ros.checks import imported_arms
from sql_ros.checks.imported_arms import ImportedArmResult, import_and_train


@pytest.fixture
def learned(tmp_path):
    """Files of the arm `z1`, imported within 2.5 s and trained before."""
    folder = tmp_path / "out" / "z1"
    (folder / "run").mkdir(parents=True)
    (folder / "robot.yaml").write_text("")
    figures = {"success_rate": 0.97, "robot_minutes": 8.5}
    (folder / "run" / "figures.json").write_text(json.dumps({"figures": figures}))
    (tmp_path / "out" / "z1.import_s").write_text("2.50\n")
    return tmp_path / "out"


def test_an_arm_that_has_learned_is_not_trained_again(learned, tmp_path):
    result = import_and_train("z1", tmp_path / "nowhere", learned, 0)
    assert result == ImportedArmResult("z1", 2.5, True, 0.97, 8.5)
    assert not list(learned.glob("*.log"))  # nothing was run


def test_an_arm_that_cannot_be_imported_leaves_a_log_and_no_folder(learned, tmp_path):
    result = import_and_train("so100", tmp_path / "nowhere", learned, 0)
    assert not result.is_imported
    assert result.import_s > 0.0
    assert "so100.urdf" in (learned / "so100.import.log").read_text()
    assert not (learned / "so100").exists()


def test_the_table_and_the_figures_count_the_arms(learned, tmp_path, monkeypatch, capsys):
    (learned / "xarm7").mkdir()
    (learned / "xarm7" / "robot.yaml").write_text("")
    (learned / "xarm7" / "xarm7_reach.yaml").write_text("")
    commands = []
    monkeypatch.setattr(imported_arms, "_run", lambda words, log: commands.append(words))
    arms = {name: imported_arms.ARMS[name] for name in ("z1", "xarm7")}
    monkeypatch.setattr(imported_arms, "ARMS", arms)
    json_file = tmp_path / "arms.json"
    words = ["robots", "--out", str(learned), "--seed", "3", "--json", str(json_file)]
    monkeypatch.setattr(sys, "argv", ["imported_arms", *words])
    assert imported_arms.main() == 0
    (training,) = commands  # of the arm without a run
    assert training[:2] == ["up", f"task:={learned / 'xarm7' / 'xarm7_reach.yaml'}"]
    assert "seed:=3" in training
    assert "| z1 | yes | 2.5 | 0.97 | 8.5 |" in capsys.readouterr().out
    figures = json.loads(json_file.read_text())["figures"]
    assert (figures["arms"], figures["arms_imported"], figures["arms_learned"]) == (2, 2, 1)
    assert figures["import_s_max"] == 2.5
    assert figures["success_rate_xarm7"] == 0.0
