"""The files of an arm are written from its description, with every guess."""

import importlib.metadata
import json
from pathlib import Path

import pytest

from sql_ros.arms.import_robot import import_robot
from sql_ros.checks.bench.control_loop import untrained_policy
from sql_ros.checks.imported_arms import ARMS
from sql_ros.cli.main import main
from sql_ros.common.errors import ConfigError
from sql_ros.robot.policy_file import check_speed, load_policy
from sql_ros.robot.tasks import load_task
from tests.arms.test_arm_files import ARM, CYLINDER, INERTIA, URDF

GRIPPER = """<link name="finger">{inertia}</link>
  <joint name="grip" type="prismatic"><parent link="tool"/><child link="finger"/>
    <axis xyz="1 0 0"/><limit lower="0" upper="0.03" effort="10" velocity="0.1"/></joint>
</robot>"""
REFUSED = {"kinova", "talos_left_arm"}  # by docs/results.md#arms
PUBLIC = {name: arm for name, arm in ARMS.items() if name not in REFUSED}


@pytest.fixture
def urdf(tmp_path):
    path = tmp_path / "toy.urdf"
    path.write_text(URDF.format(inertia=INERTIA, base=CYLINDER))
    return path


def test_a_urdf_becomes_a_task_that_can_be_trained(urdf, tmp_path, capsys):
    assert main(["import-robot", str(urdf), "--out", str(tmp_path / "toy")]) == 0
    out = capsys.readouterr().out
    assert "'tool' is tool" in out
    assert "next: sql-ros up task:=" in out
    task = load_task(str(tmp_path / "toy" / "toy_reach.yaml"))
    assert task.robot.joints == ("j1", "j2", "j3")
    assert task.robot.effort_limit == (60.0, 60.0, 30.0)
    assert {"acceleration_limit", "controllers"} <= set(task.robot.unconfirmed)
    assert "model" not in task.robot.unconfirmed  # every link has an inertia
    text = (tmp_path / "toy" / "robot.yaml").read_text()
    for key in task.robot.unconfirmed:
        assert f"# - '{key}'" in text
    assert (tmp_path / "toy" / "arm.png").stat().st_size > 1000
    spans = [high - low for low, high in zip(task.config.target_lower, task.config.target_upper)]
    assert min(spans) >= 0.2 * 0.65  # of the reach
    assert main(["check-robot", str(tmp_path / "toy" / "toy_reach.yaml")]) == 0
    assert "guarded: " in capsys.readouterr().out


def test_a_mass_from_the_volume_of_shapes_is_a_guess(urdf, tmp_path):
    link = f'<link name="l3">{INERTIA}'
    assert link in urdf.read_text()
    urdf.write_text(urdf.read_text().replace(link, '<link name="l3">'))
    arm = import_robot(urdf, tmp_path / "toy")
    assert any("1 links without <inertial>" in text and "l3" in text for text in arm.guesses)
    assert "model" in load_task(str(arm.task)).robot.unconfirmed


def test_a_speed_that_is_too_small_is_named_with_file_and_joint(urdf, tmp_path):
    urdf.write_text(urdf.read_text().replace('effort="30" velocity="2"', 'velocity="0.0002"'))
    with pytest.raises(ConfigError, match=r"toy.urdf: joint 'j3' has the velocity limit 0.0002"):
        import_robot(urdf, tmp_path / "toy")


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_joint_may_have_a_range_that_its_margins_fill(urdf, tmp_path):
    narrow = (
        '<axis xyz="0 0 1"/><limit lower="-0.08" upper="0.08" effort="9" velocity="2"/></joint>'
    )
    text = urdf.read_text().replace('<link name="tool"/>', f'<link name="tool">{INERTIA}</link>')
    text = text.replace('name="fixed" type="fixed"', 'name="j4" type="revolute"')
    urdf.write_text(text.replace("</joint>\n</robot>", f"{narrow}\n</robot>"))
    arm = import_robot(urdf, tmp_path / "toy", "tool")
    assert load_task(str(arm.task)).robot.neutral_position[3] == 0.0


def test_a_folder_that_has_an_arm_is_left_alone(urdf, tmp_path):
    import_robot(urdf, tmp_path / "toy")
    before = (tmp_path / "toy" / "robot.yaml").read_bytes()
    with pytest.raises(ConfigError, match=r"robot.yaml exists"):
        import_robot(urdf, tmp_path / "toy", "l3")
    assert (tmp_path / "toy" / "robot.yaml").read_bytes() == before


def test_a_moving_finger_is_not_guessed_to_be_the_tool(urdf, tmp_path):
    urdf.write_text(urdf.read_text().replace("</robot>", GRIPPER.format(inertia=INERTIA)))
    with pytest.raises(ConfigError, match=r"which frame is the tool.*--tool.*finger.*l3"):
        import_robot(urdf, tmp_path / "toy")
    assert not (tmp_path / "toy").exists()
    arm = import_robot(urdf, tmp_path / "toy", "tool")
    assert load_task(str(arm.task)).robot.joints == ("j1", "j2", "j3")


def test_a_fixed_joint_stays_inside_a_range_of_many_decimals(urdf, tmp_path):
    gripper = GRIPPER.format(inertia=INERTIA)
    for ends in ('lower="0" upper="0.0299988"', 'lower="-0.0299988" upper="0"'):
        changed = gripper.replace('lower="0" upper="0.03"', ends)
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.urdf"
        path.write_text(urdf.read_text().replace("</robot>", changed))
        arm = import_robot(path, tmp_path / path.stem, "tool")
        (position,) = load_task(str(arm.task)).robot.fixed_joints.values()
        assert abs(position) == pytest.approx(0.0299)


def test_an_mjcf_keeps_its_keyframe_as_the_rest_pose(tmp_path):
    path = tmp_path / "toy.xml"
    home = '<keyframe><key name="home" qpos="0.1 0.6 1.1"/></keyframe></mujoco>'
    path.write_text(ARM.replace("</mujoco>", home))
    arm = import_robot(path, tmp_path / "toy", "tool", prefix="left_")
    robot = load_task(str(arm.task)).robot
    assert robot.neutral_position == (0.1, 0.6, 1.1)
    assert robot.wire_joints[0] == "left_j1"


SCARA = """<mujoco model="toy"><compiler angle="radian"/><default><joint axis="0 0 1" damping="1"
  armature="0.05"/></default><worldbody><body name="base">
  <geom type="cylinder" size="0.05 0.15" pos="0 0 0.15" mass="2"/>
  <body name="a" pos="0 0 0.4"><joint name="j1" range="-2.5 2.5"/>
    <geom type="capsule" size="0.02" fromto="0.1 0 0 0.28 0 0" mass="1"/>
    <body name="b" pos="0.35 0 0"><joint name="j2" range="-2.4 2.4"/>
      <geom type="capsule" size="0.02" fromto="0.07 0 0 0.25 0 0" mass="0.5"/>
      <site name="tool" pos="0.3 0 0"/></body></body></body></worldbody></mujoco>"""
UPRIGHT = ARM.replace('<joint name="j1" axis="0 0 1" range="-2.9 2.9"/>', "")


@pytest.mark.parametrize(("mjcf", "flat"), [(SCARA, 2), (UPRIGHT, 1)], ids=["scara", "upright"])
def test_a_planar_arm_has_a_rest_pose_and_targets_in_its_plane(tmp_path, mjcf, flat):
    path = tmp_path / "toy.xml"
    path.write_text(mjcf)
    arm = import_robot(path, tmp_path / "toy", "tool")
    config = load_task(str(arm.task)).config
    spans = [high - low for low, high in zip(config.target_lower, config.target_upper)]
    assert spans.pop(flat) == 0.0
    assert min(spans) > 0.1
    assert not arm.report.errors
    assert arm.report.reachable > 0.9


@pytest.mark.parametrize(
    ("tool", "said"),
    [("hand", "no site, body or link 'hand'.*flange"), ("base", "no joint moves 'base'")],
)
def test_a_tool_that_cannot_be_one_is_refused(tmp_path, tool, said):
    path = tmp_path / "toy.xml"
    path.write_text(ARM)
    with pytest.raises(ConfigError, match=said):
        import_robot(path, tmp_path / "toy", tool)


def _public_folder() -> Path | None:
    """Return the folder of robots of example-robot-data; None if it is not installed."""
    try:
        files = importlib.metadata.files("example-robot-data") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    panda = next((file for file in files if file.name == "panda.urdf"), None)
    return Path(str(panda.locate())).parents[2] if panda else None


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_arm_needs_no_edit(name, tmp_path):
    folder = _public_folder()
    if folder is None:
        pytest.skip("example-robot-data is not installed: pip install --no-deps example-robot-data")
    description, tool = PUBLIC[name]
    arm = import_robot(folder / description, tmp_path / name, tool)
    assert arm.report.errors == []
    assert arm.report.reachable >= 0.95
    assert arm.report.self_pairs + arm.report.scene_pairs > 0


def test_a_policy_trained_in_gymnasium_brings_its_task_to_the_arm(urdf, tmp_path, capsys):
    """Of an arm of one's own, whose task file is in no folder of this package."""
    arm = import_robot(urdf, tmp_path / "toy")
    arm.task.write_text(arm.task.read_text().replace("episode_s: 5.0", "episode_s: 0.5"))
    out = tmp_path / "run"
    small = ["algorithm.hidden_sizes=[8,8]", "run.evaluate_every=60", "run.evaluation_episodes=1"]
    words = ["--steps", "60", "--out", str(out), "--set", *small]
    assert main(["train", str(arm.task), *words]) == 0
    assert main(["eval", "--policy", str(out / "policy.onnx"), "--episodes", "1"]) == 0
    assert "success_rate" in capsys.readouterr().out
    task, policy = load_policy(str(out / "policy.onnx"))
    assert task.spec == load_task(str(arm.task)).spec
    check_speed(policy, 1.0 / task.spec.control_rate_hz)


def test_the_policy_of_a_run_brings_its_task(urdf, tmp_path, capsys):
    """Of an arm of one's own, whose task file is in no folder of this package."""
    arm = import_robot(urdf, tmp_path / "toy")
    folder = tmp_path / "run"
    folder.mkdir()
    policy = Path(untrained_policy(str(arm.task), folder, seed=0))
    assert main(["eval", "--policy", str(policy), "--episodes", "1"]) == 2
    assert "is no file in config/tasks/" in capsys.readouterr().err
    (policy.parent / "run.json").write_text(json.dumps({"task": str(arm.task)}))
    assert main(["eval", "--policy", str(policy), "--episodes", "1"]) == 0
    assert "success_rate" in capsys.readouterr().out
    assert main(["demo", "--policy", str(policy), "--out", str(tmp_path / "clip")]) in (0, 1)
    assert "push" in capsys.readouterr().out
