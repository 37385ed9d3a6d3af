"""A scene with another arm than the robot file's is refused: the filter measures
distances in it.
"""

import pytest

from sql_ros.common.data_files import share_folder
from sql_ros.common.errors import ConfigError
from sql_ros.robot.config import load_robot
from sql_ros.robot.scene_arm import check_scene_arm
from sql_ros.robot.tasks import load_task

TASKS = sorted(path.stem for path in (share_folder() / "config/tasks").glob("*.yaml"))


@pytest.fixture
def scene(tmp_path):
    """Write the scene of ur5e_reach with a replacement in the MJCF of the arm."""

    def write(old: str, new: str) -> str:
        arm = (share_folder() / "sim/robots/ur5e.xml").read_text()
        assert old in arm
        (tmp_path / "arm.xml").write_text(arm.replace(old, new, 1))
        text = (share_folder() / "sim/scenes/ur5e_reach.xml").read_text()
        path = tmp_path / "scene.xml"
        path.write_text(text.replace("../robots/ur5e.xml", "arm.xml"))
        return str(path)

    return write


@pytest.mark.parametrize("name", TASKS)
def test_the_shipped_scenes_have_the_arm_of_their_robot(name):
    config = load_task(name).config
    check_scene_arm(load_robot(config.robot), config.scene)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('pos="-0.425 0 0"', 'pos="-0.345 0 0"', "link 'forearm_link' is 80.0 mm away"),
        ('pos="-0.425 0 0"', 'pos="-0.4229 0 0"', "link 'forearm_link' is 2.1 mm away"),
        (
            '<site name="tool0"/>',
            '<site name="tool0" euler="0 0 0.1"/>',
            "tool 'tool0' is turned by about 0.100 rad",
        ),
        ('<site name="tool0"/>', '<site name="flange"/>', "has no tool 'tool0'"),
        ('<body name="wrist_3_link"', '<body name="wrist_3"', "has no link 'wrist_3_link'"),
    ],
)
def test_a_scene_with_another_arm_is_refused(scene, old, new, said):
    path = scene(old, new)
    with pytest.raises(ConfigError) as raised:
        check_scene_arm(load_robot("ur5e"), path)
    message = str(raised.value)
    assert said in message
    assert path in message
    assert "sim/robots/ur5e.xml" in message


def test_a_difference_within_a_millimetre_is_none(scene):
    check_scene_arm(load_robot("ur5e"), scene('pos="-0.425 0 0"', 'pos="-0.4255 0 0"'))
