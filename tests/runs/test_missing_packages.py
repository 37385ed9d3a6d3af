"""A robot PC without the packages of the report: pictures are lost, nothing else."""

import os
import subprocess
import sys

import pytest

HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("matplotlib", "rich", "PIL", "gymnasium", "markdown_it"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Hidden())
"""
REPORT = """
from pathlib import Path
import sql_ros.nodes.actor_node, sql_ros.nodes.sim_bridge_node, sql_ros.nodes.learner_node
from sql_ros.nodes.monitor_node import MonitorNode
from sql_ros.robot.control.step import EpisodeSummary
from sql_ros.robot.tasks import load_task
from sql_ros.runs.progress import RunProgress
from sql_ros.runs.report import write_report
from sql_ros.runs.view import View

progress = RunProgress(20.0)
progress.add(EpisodeSummary(0, 100, 120, -100.0, True, 0.01, 1))
View("title").show(progress)
folder = Path(sys.argv[1])
task = load_task("sawyer_reach")
settings = {"command": "x", "seed": 0, "evaluation_seed": 0, "ending": "It ended."}
write_report(folder, task, progress, None, None, **settings)
"""
TRIALS = """
from pathlib import Path
import sql_ros.nodes.trials_node
from sql_ros.trials.trial import TrialResult
from sql_ros.trials.report import write_trial_report

row = TrialResult("push", 20.0, 0, 0, True, 1.0, 0.01, 3, "ab" * 32)
write_trial_report(Path(sys.argv[1]), {"mine": [row]}, task="t", command="x", seed=0)
"""


@pytest.fixture
def run_without_packages(tmp_path):
    """`run_without_packages(code)`: in a process that cannot import them.

    Returns the folder it wrote to.
    """

    def run(code: str):
        folder = tmp_path / "out"
        folder.mkdir()
        words = [sys.executable, "-c", HIDE + code, str(folder)]
        result = subprocess.run(words, env=os.environ, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return folder

    return run


def test_a_missing_matplotlib_costs_pictures_and_nothing_else(run_without_packages):
    folder = run_without_packages(REPORT)
    assert sorted(path.name for path in folder.iterdir()) == ["figures.json", "report.md"]
    text = (folder / "report.md").read_text()
    assert text.count("No module named 'matplotlib': pip install 'sql_ros[report]'") == 2
    assert "](arm.png)" not in text
    assert "| training_episodes | 1 |" in text


def test_trials_without_matplotlib_keep_their_table(run_without_packages):
    folder = run_without_packages(TRIALS)
    assert sorted(path.name for path in folder.iterdir()) == ["figures.json", "report.md"]
    text = (folder / "report.md").read_text()
    assert "No picture of the recovery times: No module named 'matplotlib'" in text
    assert "| push | 20 N | 1 of 1 |" in text
