"""Which shapes are kept apart, whatever the bits and options of an MJCF."""

import dataclasses

import numpy as np
import pytest

from sql_ros.common.errors import ConfigError
from sql_ros.robot.config import PER_JOINT
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.clearance import Clearance

WALL = '<body name="wall" pos="0.75 0 0.4"><geom type="box" size=".02 .6 .6" {}/></body>'
LEG = '<body name="leg" pos="0.75 0 -0.3"><geom type="box" size=".02 .02 .1" {}/></body>'
FLOOR = '<geom name="floor" type="plane" size="0 0 .1" pos="0 0 -0.5"/>'
TWO_BITS = 'contype="2" conaffinity="2"'
ONE_WAY = 'contype="1" conaffinity="0"'
TWO = """<mujoco><worldbody><body name="base"><geom type="box" size=".15 .15 .1" pos="0 0 .1" {0}/>
<body name="a" pos="0 0 .3"><joint name="j1" axis="0 1 0" range="-90 90"/>
<geom type="capsule" fromto="0 0 .05 0 0 .4" size=".04" {0}/>
<body name="b" pos="0 0 .45"><joint name="j2" axis="0 1 0" range="-172 172"/>
<geom type="capsule" fromto="0 0 .08 0 0 .6" size=".04" {0}/><site name="tool" pos="0 0 .6"/>
</body></body></body></worldbody></mujoco>"""


@pytest.fixture
def clearance_in(tmp_path):
    """`clearance_in(content, head, robot)`: the clearance of an arm in a scene of that content."""

    def made(content, head="", robot=None):
        path = tmp_path / "scene.xml"
        path.write_text(f"<mujoco>{head}<worldbody>{content}</worldbody></mujoco>")
        return Clearance(robot or load_robot("ur5e"), str(path))

    return made


def two_links(folder, bits):
    """Return a planar arm of two links whose shapes have some bits."""
    path = folder / "two.xml"
    path.write_text(TWO.format(bits))
    robot = load_robot("ur5e")
    values = {name: getattr(robot, name)[:2] for name in PER_JOINT}
    values |= {"position_lower": (-1.5, -2.9), "position_upper": (1.5, 2.9)}
    return dataclasses.replace(
        robot,
        **{**values, "neutral_position": (0.1, 0.1)},
        model=str(path),
        joints=("j1", "j2"),
        tool="tool",
        guarded_points=(),
        may_touch=(),
        always_near=(),
    )


def body_pairs(clearance):
    """Return the names of the bodies of each pair."""
    body_of = clearance.model.geom_bodyid
    name = clearance.model.body
    return [tuple(str(name(body_of[geom]).name) for geom in pair) for pair in clearance.pairs]


def test_no_pair_is_lost_in_a_scene_whose_contacts_do_not_fit_into_memory(clearance_in):
    shapes = FLOOR + WALL.format("") + LEG.format("")
    head = '<size memory="20K"/>'
    assert body_pairs(clearance_in(shapes, head)) == body_pairs(clearance_in(shapes))


def test_shapes_of_the_scene_that_meet_only_each_other_are_kept_from_the_arm(clearance_in):
    others = body_pairs(clearance_in(FLOOR + WALL.format(TWO_BITS) + LEG.format(TWO_BITS)))
    assert others == body_pairs(clearance_in(FLOOR + WALL.format("") + LEG.format("")))
    assert any("wall" in pair for pair in others)


def test_shapes_of_an_arm_that_meet_only_others_are_kept_apart(clearance_in, tmp_path):
    robot = two_links(tmp_path, ONE_WAY)
    assert ("base", "b") in body_pairs(clearance_in(FLOOR, robot=robot))


def test_shapes_for_the_eye_are_not_kept_apart(clearance_in):
    pairs = body_pairs(clearance_in(FLOOR + WALL.format('contype="0" conaffinity="0"')))
    assert not any("wall" in pair for pair in pairs)


def test_options_of_a_scene_do_not_change_distances(clearance_in):
    head = '<option ccd_iterations="1" ccd_tolerance="0.1"><flag nativeccd="disable"/></option>'
    pose = load_robot("ur5e").neutral_position
    distances = clearance_in(FLOOR + WALL.format("")).measure_all(pose)
    assert (clearance_in(FLOOR + WALL.format(""), head).measure_all(pose) == distances).all()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "</mujoco>",
            '<contact><exclude body1="world" body2="b"/></contact></mujoco>',
            "<exclude> of world and b",
        ),
        (
            '<body name="b" pos="0 0 .45"><joint name="j2"',
            '<body name="b" pos="0 0 .45"><joint name="j0" axis="1 0 0"/><joint name="j2"',
            "'j0' and 'j2' are of one body",
        ),
    ],
)
def test_an_arm_that_cannot_be_guarded_is_refused(clearance_in, tmp_path, old, new, said):
    robot = two_links(tmp_path, "")
    path = tmp_path / "two.xml"
    path.write_text(path.read_text().replace(old, new))
    if "j0" in new:
        robot = dataclasses.replace(robot, joints=("j0", "j2"), fixed_joints={"j1": 0.0})
    with pytest.raises(ConfigError, match=said):
        clearance_in(FLOOR, robot=robot).link_speeds()


def test_a_guarded_point_that_no_joint_moves_is_refused(clearance_in, tmp_path):
    robot = dataclasses.replace(two_links(tmp_path, ""), guarded_points=("base",))
    with pytest.raises(ConfigError, match="no joint moves 'base'"):
        clearance_in(FLOOR, robot=robot)


def test_an_exclude_of_the_arm_is_named(clearance_in, tmp_path):
    robot = two_links(tmp_path, "")
    path = tmp_path / "two.xml"
    exclude = '<contact><exclude body1="base" body2="b"/></contact></mujoco>'
    path.write_text(path.read_text().replace("</mujoco>", exclude))
    clearance = clearance_in(FLOOR, robot=robot)
    assert clearance.excluded == [("base", "b")]
    assert ("base", "b") not in body_pairs(clearance)


def test_a_flex_is_refused(clearance_in):
    flex = (
        '<body name="cloth"><flexcomp name="cloth" type="grid" dim="2" count="3 3 1"'
        ' spacing=".1 .1 .1" radius=".01" rigid="true"/></body>'
    )
    with pytest.raises(ConfigError, match="has a flex"):
        clearance_in(flex)


def test_a_height_field_that_moves_is_refused(clearance_in, tmp_path):
    field = (
        '<body name="tray"><freejoint/><geom type="hfield" hfield="dunes" mass="1"/></body>'
        "</worldbody><asset>"
        '<hfield name="dunes" nrow="2" ncol="2" size=".1 .1 .1 .1" elevation="0 1 1 0"/>'
        "</asset><worldbody>"
    )
    with pytest.raises(ConfigError, match=r"height field on 'tray', which moves.* by boxes"):
        clearance_in(field)


def test_a_held_object_is_not_fixed_to_the_scene(clearance_in, tmp_path):
    (tmp_path / "held.xml").write_text(
        '<mujoco><worldbody><body name="o"><geom size=".01"/></body></worldbody></mujoco>'
    )
    head = '<custom><text name="held" data="held.xml leg"/></custom>'
    with pytest.raises(ConfigError, match="a body of the arm"):
        clearance_in(FLOOR + LEG.format(""), head)


def test_links_with_shapes_for_the_eye_alone_are_named_whatever_the_compiler_discards(
    clearance_in, tmp_path
):
    robot = two_links(tmp_path, 'contype="0" conaffinity="0"')
    head = '<compiler discardvisual="true"/>'
    assert clearance_in(FLOOR, head, robot).bare_bodies() == ["a", "b"]


def test_no_pose_is_faster_than_the_bound_of_a_long_chain(clearance_in, tmp_path):
    """Among random poses of a chain none is straight."""
    names = tuple(f"j{index}" for index in range(6))
    mass = '<geom size=".02" contype="0" conaffinity="0"/>'
    chain = '<site name="tool"/><geom size=".01"/>'
    for index, name in list(enumerate(names))[::-1]:
        axis = "1 0 0" if index % 2 else "0 1 0"
        joint = f'<joint name="{name}" axis="{axis}" range="-170 170"/>'
        chain = f'<body pos="0 0 .4">{joint}{mass}{chain}</body>'
    path = tmp_path / "chain.xml"
    path.write_text(f'<mujoco><worldbody><body name="base">{chain}</body></worldbody></mujoco>')
    robot = dataclasses.replace(
        load_robot("ur5e"),
        model=str(path),
        joints=names,
        position_lower=(-2.9,) * 6,
        position_upper=(2.9,) * 6,
        neutral_position=(0.3, 0.3, -0.3, -0.3, 0.3, 0.3),
        tool="tool",
        guarded_points=(),
        may_touch=(),
        always_near=(),
    )
    clearance = clearance_in('<geom type="plane" size="0 0 .1" pos="0 0 -4"/>', robot=robot)
    closing = clearance.closing(np.eye(6)[0]).max()
    assert 5 * 0.4 + 0.01 - 1e-9 <= closing < 1.06 * (5 * 0.4 + 0.01)
