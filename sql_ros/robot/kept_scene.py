"""Check that the scene of a task keeps the shapes of the robot file's scene.

The scene of a task is loaded in place of that of the robot file. A table or a fence that only the
robot file's scene has would so no longer be guarded.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np

from sql_ros.common.data_files import find_beside
from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Vector
from sql_ros.robot.model import read_scene

SAME_M = 1e-3  # largest difference of place and size
SAME_AXES = 1e-3  # largest difference of the entries of a rotation matrix
SHOWN = 5  # shapes that an error lists at most


class _Shape(NamedTuple):
    """A shape that stands still.

    Attributes:
        name: What to call it in an error.
        kind: Its type, an `mjtGeom`.
        values: Size and position [m] (6,).
        axes: Entries of its rotation matrix (9,).
        mesh: Vertices of its mesh, as bytes; empty for other types.
    """

    name: str
    kind: int
    values: Vector
    axes: Vector
    mesh: bytes


def check_keeps_scene(scene: str, own: str, model: str) -> None:
    """Check that a scene has every fixed shape that can collide of another one, at its place.

    Args:
        scene: Scene of the task.
        own: Scene of the robot file; empty: there is none to keep.
        model: Description of the arm, whose include in a scene is ignored.

    Raises:
        ConfigError: A shape is missing or elsewhere, or a file cannot be read.
    """
    if not own:
        return
    arm = find_beside(model, None)
    before = find_beside(own, None)
    after = find_beside(scene, None)
    if before.resolve() in (after.resolve(), arm.resolve()):
        return
    kept = [] if after.resolve() == arm.resolve() else _fixed_shapes(after, arm)
    missing = [
        shape.name
        for shape in _fixed_shapes(before, arm)
        if not any(_is_same(shape, each) for each in kept)
    ]
    if missing:
        names = ", ".join(missing[:SHOWN]) + ", ..." * (len(missing) > SHOWN)
        raise ConfigError(
            f"the scene {after} of the task is loaded in place of {before} of the robot file, but"
            f" has not its {names}: keep them, for instance by <include file='{before}'/>"
        )


def _fixed_shapes(path: Path, arm: Path) -> list[_Shape]:
    """Return the shapes of a scene that can collide and stand still.

    Args:
        path: File of the scene.
        arm: File of the arm, whose include is ignored.

    Raises:
        ConfigError: The scene cannot be read.
    """
    try:
        model = read_scene(path, arm).compile()
    except ValueError as error:
        raise ConfigError(f"MJCF {path}: {error}") from None
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    collides = (model.geom_contype | model.geom_conaffinity) != 0
    stands = model.body_weldid[model.geom_bodyid] == 0
    shapes = []
    for geom in np.flatnonzero(collides & stands):
        kind = int(model.geom_type[geom])
        place = data.geom_xpos[geom]
        named = model.geom(geom).name or model.body(model.geom_bodyid[geom]).name
        at = ", ".join(f"{value:.3f}" for value in place)
        shapes.append(
            _Shape(
                f"{named} at ({at})",
                kind,
                np.concatenate((model.geom_size[geom], place)),
                data.geom_xmat[geom].copy(),
                _mesh_of(model, int(geom)),
            )
        )
    return shapes


def _mesh_of(model: mujoco.MjModel, geom: int) -> bytes:
    """Return the vertices of a shape's mesh, as bytes; empty if it is no mesh."""
    if model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_MESH:
        return b""
    mesh = model.geom_dataid[geom]
    begin = model.mesh_vertadr[mesh]
    return bytes(model.mesh_vert[begin : begin + model.mesh_vertnum[mesh]])


def _is_same(one: _Shape, other: _Shape) -> bool:
    """Return whether two shapes are of one type, size and pose."""
    return (
        one.kind == other.kind
        and one.mesh == other.mesh
        and bool(np.abs(one.values - other.values).max() <= SAME_M)
        and bool(np.abs(one.axes - other.axes).max() <= SAME_AXES)
    )
