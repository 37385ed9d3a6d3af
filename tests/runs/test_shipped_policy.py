"""The policy that is shipped stacks, recovers from pushes and late commands, and can be watched:
a short form of `sql-ros eval` and `sql-ros trials`.
"""

from pathlib import Path

import pytest

from sql_ros.policy.runtime import Policy
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.tasks import load_task
from sql_ros.runs.clip import film
from sql_ros.runs.evaluation import Evaluator
from sql_ros.runs.rollout import SimulatedArm
from sql_ros.trials.protocol import ProtocolConfig
from sql_ros.trials.session import Session
from sql_ros.trials.trial import TrialResult
from sql_ros.trials.trial_runner import TrialRunner

FOLDER = Path(__file__).parents[2] / "config" / "policies"


@pytest.fixture(scope="module")
def stack():
    return load_task("sawyer_stack")


@pytest.fixture(scope="module")
def policy(stack) -> Policy:
    return Policy((FOLDER / "sawyer_stack.onnx").read_bytes(), stack.spec)


def test_policies_are_small_enough_to_ship():
    files = list(FOLDER.glob("*.onnx"))
    assert len(files) == 2
    assert all(file.stat().st_size < 1_000_000 for file in files)


@pytest.mark.long
def test_the_punctual_one_acts_in_the_same_task(stack):
    policy = Policy((FOLDER / "sawyer_stack_punctual.onnx").read_bytes(), stack.spec)
    assert sum(Evaluator(stack, 2000).evaluate(policy, 5).successes) >= 4


@pytest.mark.long
def test_it_stacks_at_least_nineteen_of_twenty(stack, policy):
    result = Evaluator(stack, 1000).evaluate(policy, 20)
    assert sum(result.successes) >= 19, [round(1e3 * d, 1) for d in result.distances]


@pytest.mark.long
def test_it_recovers_from_pushes(stack, policy):
    rows = _tried(stack, policy, push_n=(20.0,), push_bodies=("right_l3", "right_l5", "right_hand"))
    assert sum(row.success for row in rows) >= 9, rows


@pytest.mark.long
def test_it_stacks_with_late_commands(stack, policy):
    rows = _tried(stack, policy, delay_steps=(1.0,))
    assert sum(row.success for row in rows) >= 9, rows


def _tried(stack, policy, **sizes) -> list[TrialResult]:
    mapper, arm = ActionMapper(stack), SimulatedArm(stack)
    session = Session(stack, mapper, ProtocolConfig(repeats=10, undisturbed=(), **sizes), 0)
    runner = TrialRunner(stack, policy, session, mapper=mapper)
    while arm.try_once(runner) is not None:
        pass
    return session.rows


def test_the_demo_films_it_or_says_why_not(stack, policy, tmp_path, capsys):
    row, files = film(stack, policy, tmp_path, seed=0, push_n=20.0, at_s=0.5, body="right_l5")
    assert (row.kind, row.size) == ("push", 20.0)
    if not files:
        assert "cannot render" in capsys.readouterr().out
        return
    clip, strip = (file.read_bytes() for file in files)
    assert (clip[:4], strip[:4]) == (b"GIF8", b"\x89PNG")
