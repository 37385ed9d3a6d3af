"""Triangles of shapes are closed, look outward and have the right volume."""

import mujoco
import numpy as np
import pytest

from sql_ros.page.shapes import body_vertices

SCENE = """
<mujoco><asset>
  <mesh name="wedge" vertex="0 0 0  1 0 0  0 1 0  0 0 1"/>
</asset><worldbody><body pos="1 2 3"><geom {geom} rgba="0.2 0.4 0.6 1"/></body></worldbody></mujoco>
"""


def _vertices(geom: str, *, collision: bool = False):
    return body_vertices(
        mujoco.MjModel.from_xml_string(SCENE.format(geom=geom)), 1, collision=collision
    )


@pytest.mark.parametrize(
    ("geom", "volume"),
    [
        ('type="box" size="0.1 0.2 0.3"', 8 * 0.006),
        ('type="sphere" size="0.2"', 4 / 3 * np.pi * 0.008),
        ('type="ellipsoid" size="0.1 0.2 0.3"', 4 / 3 * np.pi * 0.006),
        ('type="cylinder" size="0.1 0.3"', np.pi * 0.01 * 0.6),
        ('type="capsule" size="0.1 0.3"', np.pi * 0.01 * 0.6 + 4 / 3 * np.pi * 0.001),
        ('type="mesh" mesh="wedge"', 1 / 6),
    ],
)
def test_a_shape_is_closed_and_has_its_volume(geom, volume):
    """By the divergence theorem: each triangle and the origin span a tetrahedron."""
    vertices = _vertices(f'{geom} pos="0.3 -0.2 0.1" euler="30 40 50"')
    corners = vertices["position"].astype(float).reshape(-1, 3, 3)
    enclosed = np.linalg.det(corners).sum() / 6.0
    assert enclosed == pytest.approx(volume, rel=0.04)
    areas = 0.5 * np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert np.abs(areas.sum(0)).max() < 1e-6  # closed: no hole
    normals = vertices["normal"][:, :3].astype(float).reshape(-1, 3, 3)
    solid = np.linalg.norm(areas, axis=1) > 1e-9
    assert (np.einsum("tci,ti->tc", normals[solid], areas[solid]) > 0.0).all()


def test_colour_and_group_decide_what_is_drawn():
    assert (_vertices('size="0.1"')["colour"] == [51, 102, 153, 255]).all()
    assert len(_vertices('size="0.1" group="3"')) == 0
    assert len(_vertices('size="0.1" group="3"', collision=True)) > 0
    assert len(_vertices('type="plane" size="1 1 1"')) == 0
