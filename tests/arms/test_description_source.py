"""An arm is imported from a xacro, whether its packages are installed or only sources."""

import os
import sys

import pytest

from sql_ros.arms.description_source import DESCRIPTION, expand_xacro, import_text, is_topic
from sql_ros.cli.main import main
from sql_ros.common.errors import ConfigError
from sql_ros.robot.tasks import load_task
from tests.arms.test_arm_files import INERTIA, MESH, NAMES, TETRAHEDRON, URDF

WHOLE = (
    '<robot name="toy" xmlns:xacro="http://www.ros.org/wiki/xacro">'
    '<xacro:arg name="effort" default="60"/>'
    '<xacro:include filename="$(find toy_arm)/urdf/joints.xacro"/></robot>'
)


@pytest.fixture
def xacro(tmp_path, monkeypatch):
    """Return the path of a xacro in a package of sources, which includes another file of it."""
    monkeypatch.setenv("AMENT_PREFIX_PATH", "")
    package = tmp_path / "ws" / "toy_arm"
    (package / "urdf").mkdir(parents=True)
    (package / "meshes").mkdir()
    (package / "meshes" / "base.obj").write_text(TETRAHEDRON)
    parts = URDF.format(inertia=INERTIA, base=MESH).replace('effort="60"', 'effort="$(arg effort)"')
    namespace = 'xmlns:xacro="http://www.ros.org/wiki/xacro"'
    parts = parts.replace('<robot name="toy"', f"<robot {namespace}")
    (package / "urdf" / "joints.xacro").write_text(parts)
    path = package / "urdf" / "toy.urdf.xacro"
    path.write_text(WHOLE)
    return path


def test_a_xacro_becomes_a_task_that_can_be_trained(xacro, tmp_path, capsys):
    pytest.importorskip("xacro")
    before = os.environ["AMENT_PREFIX_PATH"]
    assert main(["import-robot", str(xacro), "effort:=50", "--out", str(tmp_path / "toy")]) == 0
    assert os.environ["AMENT_PREFIX_PATH"] == before
    robot = load_task(str(tmp_path / "toy" / "toy_reach.yaml")).robot
    assert robot.effort_limit == (50.0, 50.0, 30.0)
    mesh = xacro.parents[1] / "meshes" / "base.obj"
    assert f"file://{mesh}" in (tmp_path / "toy" / DESCRIPTION).read_text()


@pytest.mark.parametrize(
    ("old", "new", "arguments", "said"),
    [
        ("$(find toy_arm)", "$(find nowhere)", [], "package 'nowhere' not found.*ROS_PACKAGE_PATH"),
        ('<xacro:arg name="effort" default="60"/>', "", [], "effort.*NAME:=VALUE"),
        ("joints.xacro", "joint.xacro", [], "joint.xacro"),
        ("</robot>", "", [], "toy.urdf.xacro"),
        ("60", "60", ["effort"], "'effort' is no argument of a xacro, expected NAME:=VALUE"),
    ],
)
def test_a_xacro_that_cannot_be_expanded_is_one_line(xacro, old, new, arguments, said):
    pytest.importorskip("xacro")
    xacro.write_text(WHOLE.replace(old, new))
    with pytest.raises(ConfigError, match=said) as raised:
        expand_xacro(xacro, arguments)
    assert "\n" not in str(raised.value)


def test_without_xacro_the_remedy_is_named(xacro, monkeypatch):
    monkeypatch.setitem(sys.modules, "xacro", None)
    with pytest.raises(ConfigError, match="xacro is not installed: pip install xacro"):
        expand_xacro(xacro)


def test_a_xacro_in_a_robot_file_says_who_takes_it(xacro, tmp_path):
    (tmp_path / "robot.yaml").write_text(NAMES.replace("arm.xml", str(xacro)))
    task = "kind: reach\nrobot: robot.yaml\ncontrol_rate_hz: 20\ncommand_mode: velocity\n"
    task += "action_scale: [1, 1, 1]\nepisode_s: 5\nstart_spread_rad: 0.1\ntolerance_m: 0.02\n"
    task += "target_lower: [0.3, 0, 0.2]\ntarget_upper: [0.5, 0.2, 0.4]\n"
    (tmp_path / "mine.yaml").write_text(task)
    with pytest.raises(ConfigError, match="is a xacro, expected a URDF: `sql-ros import-robot`"):
        load_task(str(tmp_path / "mine.yaml"))


def test_arguments_are_for_a_xacro_alone(tmp_path, capsys):
    path = tmp_path / "toy.urdf"
    path.write_text("<robot/>")
    assert main(["import-robot", str(path), "a:=1", "--out", str(tmp_path / "toy")]) == 2
    assert "takes no arguments (a:=1): it is no xacro" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "no description", "<robot><link name='a'/></robot>"])
def test_a_text_that_is_no_arm_leaves_no_file(tmp_path, text):
    with pytest.raises(ConfigError):
        import_text(text, tmp_path / "near", tmp_path / "toy")
    assert not (tmp_path / "toy").exists() or not list((tmp_path / "toy").iterdir())


def test_the_name_of_a_topic_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_topic("/robot_description")
    assert is_topic("/left/robot_description")
    assert not is_topic("/robot_description.urdf")
    (tmp_path / "robot_description").touch()
    assert not is_topic("robot_description")
