"""Tasks of a user's own code: found by `kind`, checked at load, named by a hash of their code."""

import dataclasses
import logging
import re
import shutil
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml

from sql_ros.common.data_files import share_folder
from sql_ros.common.errors import ConfigError, PolicyError
from sql_ros.envs.arm_env import ArmEnv
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.learning.trainer import Trainer
from sql_ros.policy.runtime import Policy
from sql_ros.policy.task_spec import TaskSpec
from sql_ros.robot import task_kind
from sql_ros.robot.arm import Arm
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.policy_file import read_policy
from sql_ros.robot.tasks import load_task
from sql_ros.runs.evaluation import Evaluator
from sql_ros.runs.rollout import SimulatedArm
from sql_ros.trials.protocol import ProtocolConfig
from sql_ros.trials.session import Session
from sql_ros.trials.trial_runner import TrialRunner

PUSH = '''
"""A task."""
from dataclasses import dataclass, replace

import numpy as np

from sql_ros import Episode, Task, TaskConfig, option


@dataclass(frozen=True, kw_only=True)
class PushConfig(TaskConfig):
    tolerance_m: float = option(0.02, "reached within [m]")


class Push(Task):
    config: PushConfig

    def __init__(self, name, config, robot):
        super().__init__(name, config, robot)
        self.spec = self._spec(("x", "y", "z"), (0.0,) * 3, (0.1,) * 3)

    def observe(self, state, episode):
        to_target = episode.target - state.tool_position
        return np.concatenate((state.position, state.velocity, to_target)).astype(np.float32)

    def is_reached(self, state, episode):
        return self.distance(state, episode) < self.config.tolerance_m
'''
INIT = '        self.spec = self._spec(("x", "y", "z"), (0.0,) * 3, (0.1,) * 3)\n'
OBSERVATION = "np.concatenate((state.position, state.velocity, to_target)).astype(np.float32)"


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Write push.py and push.yaml, and load the task."""
    monkeypatch.chdir(tmp_path)
    # other tests may have loaded a push.py of their own
    others = [each for each in sys.path if not (Path(each) / "push.py").exists()]
    monkeypatch.setattr(sys, "path", others)
    monkeypatch.delitem(sys.modules, "push", raising=False)

    def write_and_load(code=PUSH, kind="./push.py:Push", folder="mine", **changes):
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        (place / "push.py").write_text(code)
        values = yaml.safe_load((share_folder() / "config/tasks/ur5e_reach.yaml").read_text())
        values |= {"kind": kind, **changes}
        (place / "push.yaml").write_text(yaml.safe_dump(values))
        return load_task(f"{folder}/push.yaml")

    yield write_and_load
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def _with_method(code: str) -> str:
    return PUSH + textwrap.indent(textwrap.dedent(code), "    ")


@pytest.mark.parametrize("kind", ["./push.py:Push", "push.py:Push", "push:Push"])
def test_a_kind_may_be_a_class_of_a_file_beside_the_task(load, kind):
    task = load(kind=kind, folder=kind.replace(":", "-").replace("/", "-"))
    assert type(task).__name__ == "Push"
    assert type(task.config).__name__ == "PushConfig"
    assert task.spec.observation[-3:] == ("x", "y", "z")
    assert task.spec.task_code


def test_a_kind_may_be_an_entry_point_of_an_installed_package(load, tmp_path, monkeypatch):
    """As pip writes it: metadata beside the package, on the path of imports."""
    site = tmp_path / "site"
    (site / "my_package-1.0.dist-info").mkdir(parents=True)
    (site / "my_package-1.0.dist-info/METADATA").write_text("Name: my_package\nVersion: 1.0\n")
    (site / "my_package-1.0.dist-info/entry_points.txt").write_text(
        "[sql_ros.tasks]\npuck = my_package.tasks:Push\n"
    )
    (site / "my_package").mkdir()
    (site / "my_package/__init__.py").touch()
    (site / "my_package/tasks.py").write_text(PUSH)
    monkeypatch.syspath_prepend(site)
    assert type(load(kind="puck")).__module__ == "my_package.tasks"
    assert type(load(kind="my_package.tasks:Push")).__module__ == "my_package.tasks"
    with pytest.raises(ConfigError, match=r"kind 'ball' is not one of: .*, of installed .*: puck"):
        load(kind="ball")


def test_a_file_may_import_its_neighbours_and_is_loaded_anew_after_a_change(load, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/push_geometry.py").write_text("TOLERANCE_M = 0.02\n")
    code = PUSH.replace("import numpy", "import push_geometry\nimport numpy")
    first = load(code)
    changed = load(code.replace("< self.config.tolerance_m", "< 1e6"))
    assert not first.is_reached(*_state_and_episode(first))
    assert changed.is_reached(*_state_and_episode(changed))


def _state_and_episode(task):
    episode = task.begin(np.random.default_rng(0))
    arm = Arm(task.robot)
    return arm.state(1, episode.start, np.zeros(arm.size), np.zeros(arm.size)), episode


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("./pull.py:Push", r"cannot read the file of its kind: .*No such file.*mine/pull\.py"),
        ("./push.py:Pull", r"push\.py has no class 'Pull', it has: Push"),
        ("./push.py", r"push\.py has no class 'Task'|Task of .* lacks the methods"),
        ("./push.py:PushConfig", r"PushConfig of .* is no subclass of sql_ros\.Task"),
        ("pull:Push", r"kind 'pull' is not one of: reach, stack; .* \(No module named 'pull'\)"),
        ("no way", r"kind 'no way' is not one of: reach, stack"),
        (3, r"kind 3 is not one of"),
    ],
)
def test_a_kind_that_does_not_exist_is_one_line(load, kind, said):
    with pytest.raises(ConfigError, match=said) as caught:
        load(kind=kind)
    assert str(caught.value).startswith("mine/push.yaml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_here\n" + PUSH, r"push\.py:1: ModuleNotFoundError: .*nothing_here"),
        ("1 / 0\n", r"push\.py:1: ZeroDivisionError"),
        ("class Push(:\n", r"push\.py:1: SyntaxError"),
        (PUSH.replace(OBSERVATION, "1 / 0"), r"push\.py:\d+: ZeroDivisionError"),
        (PUSH.replace(INIT, "        self.nothing\n"), r"push\.py:\d+: AttributeError"),
        (
            PUSH.replace("config: PushConfig", "config: 'Nothing'"),
            r"push\.py|Nothing.* is not defined",
        ),
    ],
)
def test_an_exception_in_a_users_code_names_file_and_line(load, code, said):
    with pytest.raises(ConfigError, match=said) as caught:
        load(code)
    assert "\n" not in str(caught.value)


def test_an_exception_in_a_state_that_was_not_tried_names_file_and_line(load):
    late = "if state.stamp_ns > 1:\n            state.nothing\n        to_target ="
    task = load(PUSH.replace("to_target =", late, 1))
    state, episode = _state_and_episode(task)
    task.observe(state, episode)
    with pytest.raises(ConfigError, match=r"^mine/push\.yaml: .*push\.py:\d+: AttributeError"):
        task.observe(dataclasses.replace(state, stamp_ns=2), episode)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        pytest.param(
            PUSH[: PUSH.index("    def is_reached")],
            r"class Push of .* lacks the methods is_reached",
            id="a method is missing",
        ),
        pytest.param(
            PUSH.replace("        super().__init__(name, config, robot)\n", ""),
            r"push\.py:\d+: AttributeError: 'Push' object has no attribute 'robot'",
            id="super is not called, and then used",
        ),
        pytest.param(
            PUSH.replace(
                "        super().__init__(name, config, robot)\n" + INIT, "        pass\n"
            ),
            r"Push.__init__ does not call super\(\)",
            id="super is not called",
        ),
        pytest.param(PUSH.replace(INIT, ""), r"does not set 'spec'", id="no spec"),
        pytest.param(
            PUSH.replace("(0.0,) * 3", "(0.0,) * 2"),
            r"has 14 values in observation_offset, expected one per label .*: 15",
            id="offsets",
        ),
        pytest.param(PUSH.replace("(0.1,)", "(0.0,)"), r"scale 0.0, expected > 0", id="scales"),
        pytest.param(PUSH.replace('"y"', '"x"'), r"label 'x' twice", id="labels"),
        pytest.param(
            PUSH.replace("(state.position, state.velocity, to_target)", "(state.position,)"),
            r"Push.observe returns an array of shape \(6,\), expected \(15,\)",
            id="shape",
        ),
        pytest.param(
            PUSH.replace(".astype(np.float32)", ""),
            r"Push.observe returns an array of float64, expected float32",
            id="type",
        ),
        pytest.param(
            PUSH.replace("to_target =", "to_target = np.nan *"),
            r"Push.observe returns an array that is not finite at \[12 13 14\]",
            id="NaN",
        ),
        pytest.param(
            PUSH.replace("to_target =", "to_target = np.array((1e6, 0.0, 0.0)) +"),
            r"Push.observe returns 1e\+06 for 'x', more than 10000 times its scale",
            id="unit",
        ),
        pytest.param(
            PUSH.replace("to_target =", "state.position[0] = 1.0; to_target ="),
            r"push\.py:\d+: ValueError: assignment destination is read-only",
            id="the state is changed",
        ),
        pytest.param(
            PUSH.replace("to_target =", "to_target = np.random.rand() *"),
            r"Push.observe returns two values for the same state",
            id="chance",
        ),
        pytest.param(
            PUSH.replace("< self.config.tolerance_m", ""),
            r"Push.is_reached returns .*, expected True or False",
            id="is_reached",
        ),
        pytest.param(
            _with_method("def reward(self, state, action, episode): return float('nan')"),
            r"Push.reward returns nan, expected a finite number",
            id="reward",
        ),
        pytest.param(
            _with_method("def reward(self, state, action, episode): return None"),
            r"Push.reward returns None, expected a float",
            id="no reward",
        ),
        pytest.param(
            _with_method("def begin(self, rng): return Episode(np.zeros(5), np.zeros(3))"),
            r"Push.begin returns a start of shape \(5,\), expected \(6,\)",
            id="episode",
        ),
        pytest.param(
            _with_method("def begin(self, rng): return super().begin(rng).target"),
            r"Push.begin returns array\(.*, expected a sql_ros.Episode",
            id="no episode",
        ),
        pytest.param(
            PUSH.replace("config: PushConfig", "config: int"),
            r"annotation of 'config' in Push is .*int.*, expected a subclass of sql_ros.TaskConfig",
            id="annotation",
        ),
    ],
)
def test_a_mistake_in_a_task_is_found_at_load(load, code, said):
    with pytest.raises(ConfigError, match=said) as caught:
        load(code)
    assert str(caught.value).startswith("mine/push.yaml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "key"),
    [
        ("self.robot = replace(self.robot, tip_speed_limit_m_s=9.0)", "tip_speed_limit_m_s"),
        ("self.robot = replace(self.robot, clearance_m=0.002)", "clearance_m"),
        ("self.robot = replace(self.robot, may_touch=(('a', 'b'),))", "may_touch"),
    ],
)
def test_a_task_cannot_change_the_safety_of_its_arm(load, code, key):
    with pytest.raises(ConfigError, match=rf"Push changes '{key}' of the arm.* only tightens"):
        load(PUSH.replace(INIT, f"{INIT}        {code}\n"))
    loose = "super().__init__(name, config, replace(robot, people_in_reach=True))"
    with pytest.raises(ConfigError, match="changes 'people_in_reach' of the arm"):
        load(PUSH.replace("super().__init__(name, config, robot)", loose))
    other_scene = "super().__init__(name, replace(config, scene='sim/scenes/floor.xml'), robot)"
    with pytest.raises(ConfigError, match="Push changes its settings"):
        load(PUSH.replace("super().__init__(name, config, robot)", other_scene))
    begin = "        super().__init__(name, config, robot)\n"
    in_place = f"        robot.fixed_joints['grip'] = 0.05\n{begin}"
    with pytest.raises(ConfigError, match="changes 'fixed_joints' of the arm"):
        load(PUSH.replace(begin, in_place))


def test_a_task_that_sets_up_its_arm_itself_is_checked_as_others_are(load):
    """Without `super().__init__` nothing refuses a faster tool."""
    own = (
        "        from sql_ros.robot.task import robot_for\n"
        "        full = Task.__init__\n"
        "        full(self, name, replace(config, tip_speed_limit_m_s=0.5), robot)\n"
        "        self.config = config\n"
        "        self.robot = robot_for(config, robot)\n"
    )
    code = PUSH.replace("        super().__init__(name, config, robot)\n", own)
    with pytest.raises(ConfigError, match="'tip_speed_limit_m_s' is 9, expected at most"):
        load(code, tip_speed_limit_m_s=9.0)


def test_annotations_may_be_texts(load):
    task = load(PUSH.replace('"""A task."""', "from __future__ import annotations"))
    assert type(task.config).__name__ == "PushConfig"


def test_a_module_that_hides_the_file_beside_the_task_is_refused(load, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/textwrap.py").write_text(PUSH)
    with pytest.raises(
        ConfigError, match=r"but textwrap\.py lies beside .*: write \./textwrap\.py"
    ):
        load(kind="textwrap:Push")


# --- the hash of the code ---


def test_comments_docstrings_and_file_names_do_not_change_the_hash(load, tmp_path):
    code = load().spec.task_code
    commented = PUSH.replace('"""A task."""', '"""Another text."""\n# a comment')
    commented = commented.replace("    def observe(", '    """Text."""\n\n    def observe(')
    assert load(commented).spec.task_code == code
    shutil.copy(tmp_path / "mine/push.py", tmp_path / "mine/renamed.py")
    assert load(kind="./renamed.py:Push").spec.task_code == code


def test_code_of_the_task_and_of_its_neighbours_changes_the_hash(load, tmp_path):
    code = load().spec.task_code
    assert load(PUSH.replace("self.config.tolerance_m", "0.01")).spec.task_code != code
    assert load(PUSH.replace("option(0.02", "option(0.03")).spec.task_code != code
    (tmp_path / "mine/push_geometry.py").write_text("A = 1\n")
    importing = PUSH.replace("import numpy", "import push_geometry\nimport numpy")
    first = load(importing).spec.task_code
    assert load(importing).spec.task_code == first
    (tmp_path / "mine/push_geometry.py").write_text("A = 2\n")
    assert load(importing).spec.task_code != first


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("push_tools/__init__.py", "import push_tools"),
        ("push_tools/geometry.py", "from push_tools import geometry"),
        ("push_tools/geometry.py", "from push_tools.geometry import A"),
        ("push_tools/deep/geometry.py", "import push_tools.deep.geometry"),
    ],
)
def test_code_of_a_package_beside_the_task_changes_the_hash(load, tmp_path, file, line):
    path = tmp_path / "mine" / file
    path.parent.mkdir(parents=True)
    (tmp_path / "mine/push_tools/__init__.py").touch()
    path.write_text("A = 1\n")
    importing = PUSH.replace("import numpy", f"{line}\nimport numpy")
    first = load(importing).spec.task_code
    path.write_text("A = 2\n")
    assert load(importing).spec.task_code != first


def test_a_neighbour_that_another_task_has_too_is_refused(load, tmp_path):
    """Python would give the first one to both."""
    importing = PUSH.replace("import numpy", "import push_helper\nimport numpy")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "push_helper.py").write_text(f"PLACE = {folder!r}\n")
    load(importing, folder="one")
    with pytest.raises(ConfigError, match=r"imports 'push_helper', which is .*/one/push_helper"):
        load(importing, folder="two")


def test_the_hash_is_no_part_of_the_interface(load):
    spec = load().spec
    other = dataclasses.replace(spec, task_code="0" * 16)
    assert other == spec
    assert other.schema_hash == spec.schema_hash
    assert TaskSpec.from_json(spec.to_json()) == spec
    assert not spec.code_complaint("")
    assert "with other code of task 'push'" in spec.code_complaint(other.task_code)


def _trainer(task):
    """Return a small trainer of a task."""
    config = AlgorithmConfig(hidden_sizes=(8,), batch_size=4)
    return Trainer(task.spec, TrainerConfig(replay_capacity=100), config, 0)


def test_other_code_of_a_policys_task_warns_and_another_interface_refuses(load, tmp_path, caplog):
    task = load()
    policy = tmp_path / "policy.onnx"
    policy.write_bytes(_trainer(task).export())
    assert Policy(policy.read_bytes(), task.spec).info.task_code == task.spec.task_code
    caplog.set_level(logging.WARNING)
    read_policy(policy, load(PUSH.replace('"""A task."""', '"""Other words."""')))
    assert not caplog.messages
    changed = load(PUSH.replace("to_target =", "to_target = -1.0 *"))
    read_policy(policy, changed)
    (message,) = caplog.messages
    assert re.search(r"policy\.onnx was trained with other code of task 'push'", message)
    with pytest.raises(ConfigError, match=r"another interface: observation\[12\]: 'x' instead"):
        read_policy(policy, load(PUSH.replace('"x", "y"', '"a", "b"')))
    with pytest.raises(PolicyError):
        Policy(policy.read_bytes(), load(PUSH.replace('"x", "y"', '"a", "b"')).spec)


def test_a_checkpoint_of_other_code_is_resumed_with_a_warning(load, tmp_path, caplog):
    saved = tmp_path / "checkpoints"
    _trainer(load()).save(saved, {})
    caplog.set_level(logging.WARNING)
    _trainer(load()).load(saved)
    assert not caplog.messages
    _trainer(load(PUSH.replace("to_target =", "to_target = -1.0 *"))).load(saved)
    assert "was made with other code of task 'push'" in caplog.text


# --- reward and termination ---


def test_a_task_without_a_reward_has_the_sparse_one(load):
    task = load()
    state, episode = _state_and_episode(task)
    action = np.zeros(6, np.float32)
    at_goal = dataclasses.replace(episode, target=state.tool_position)
    assert task.transition_reward(state, action, episode) == 0.0
    assert task.transition_reward(state, action, at_goal) == 1.0


@pytest.mark.parametrize("name", ["sawyer_reach", "sawyer_stack", "ur5e_reach"])
def test_every_task_has_a_sparse_reward(name):
    task = load_task(name, reward="sparse")
    state, episode = _state_and_episode(task)
    action = np.zeros(task.spec.action_size, np.float32)
    assert task.transition_reward(state, action, episode) == 0.0
    assert load_task(name).transition_reward(state, action, episode) != 0.0
    assert task.spec == load_task(name).spec


def test_an_unknown_reward_is_refused(load):
    with pytest.raises(ConfigError, match="'reward' must be one of dense, sparse, got 'dens'"):
        load(reward="dens")


def test_the_shipped_kinds_are_found_without_a_check():
    found = task_kind.find_task_class("reach", ["reach"], share_folder())
    assert task_kind.is_shipped(found)


TERMINATING = (
    PUSH
    + """
    def is_terminated(self, state, episode):
        return bool(state.tool_position[0] {})
"""
)


@pytest.mark.parametrize(
    ("code", "tolerance_m", "outcome"),
    [
        pytest.param(TERMINATING.format("> -9.0"), 9.0, "success", id="ends at the goal"),
        pytest.param(TERMINATING.format("> -9.0"), 0.0, "failure", id="ends elsewhere"),
        pytest.param(PUSH, 0.0, "time-out", id="time is up"),
        pytest.param(PUSH, 9.0, "success", id="time is up at the goal"),
    ],
)
def test_each_episode_says_how_it_ended(load, code, tolerance_m, outcome):
    """The same in the actor, the environment, a trial and an evaluation."""
    task = load(code, tolerance_m=tolerance_m, episode_s=0.2, hold_s=0.0)
    arm = SimulatedArm(task)
    actor = Actor(task, seed=0)
    arm.begin(actor, task.begin(np.random.default_rng(0)))
    while (step := arm.follow(actor)).summary is None:
        pass
    last = step.transition
    assert last is not None
    assert step.summary.outcome == outcome
    assert last.terminated == step.summary.terminated == ("terminated" in code)
    assert last.truncated == (not last.terminated)

    env = ArmEnv("mine/push.yaml")
    env.reset(seed=0)
    ended = False
    while not ended:
        _, _, terminated, truncated, info = env.step(np.zeros(6, np.float32))
        ended = terminated or truncated
        assert ("outcome" in info) == ended
    assert info["outcome"] == outcome

    policy = Policy(_trainer(task).export(), task.spec)
    mapper = ActionMapper(task)
    session = Session(task, mapper, ProtocolConfig(repeats=1, undisturbed=(0.0,)), 0, "sha")
    row = arm.try_once(TrialRunner(task, policy, session, mapper=mapper))
    assert row.outcome == outcome
    assert row.success == (outcome == "success")
    result = Evaluator(task, 0).evaluate(policy, 2)
    assert result.outcomes == [outcome] * 2
    assert result.failures == 2 * (outcome == "failure")
    assert result.timeouts == 2 * (outcome == "time-out")
    assert result.figures()["timed_out_episodes"] == result.timeouts
