"""Triangles of the shapes of a MuJoCo model, for drawing in a browser.

Letters of shapes: T triangles. A triangle has three vertices of its own, in counter-clockwise order
seen from outside.
"""

from __future__ import annotations

import mujoco
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
SLICES = 24  # segments around the axis of a round shape
RINGS = 8  # segments of a quarter of a circle
COLLISION_GROUP = 3  # first group that viewers of MuJoCo hide
VERTEX = np.dtype([("position", "<f4", 3), ("normal", "i1", 4), ("colour", "u1", 4)])


def body_vertices(model: mujoco.MjModel, body: int, *, collision: bool) -> npt.NDArray[np.void]:
    """Return the vertices (3 T,) of all shapes of a body, of dtype `VERTEX`.

    Positions [m] and normals are in the frame of the body. Planes are left out.

    Args:
        model: The model.
        body: Index of the body.
        collision: Whether to draw the shapes of the groups from `COLLISION_GROUP` on, instead of
            those of the groups before.
    """
    first = int(model.body_geomadr[body])
    parts = [
        _coloured(model, geom)
        for geom in range(first, first + int(model.body_geomnum[body]))
        if (int(model.geom_group[geom]) >= COLLISION_GROUP) == collision
        and model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_PLANE
        and colour_of(model, geom)[3] > 0.0
    ]
    return np.concatenate(parts) if parts else np.empty(0, VERTEX)


def colour_of(model: mujoco.MjModel, geom: int) -> Floats:
    """Return red, green, blue and opacity of a shape (4,), from 0 to 1."""
    material = int(model.geom_matid[geom])
    default = np.array([0.5, 0.5, 0.5, 1.0], np.float32)
    own = model.geom_rgba[geom]
    if material >= 0 and np.allclose(own, default):
        return np.asarray(model.mat_rgba[material], np.float32)
    return np.asarray(own, np.float32)


def _coloured(model: mujoco.MjModel, geom: int) -> npt.NDArray[np.void]:
    """Return the vertices of a shape in the frame of its body, see `body_vertices`."""
    points, normals = _triangles(model, geom)
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
    turned = rotation.reshape(3, 3).T
    vertices = np.zeros(len(points), VERTEX)
    vertices["position"] = points @ turned + model.geom_pos[geom]
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    unit = (normals @ turned) / np.maximum(lengths, 1e-12)
    vertices["normal"][:, :3] = np.round(127.0 * unit)
    vertices["colour"] = np.round(255.0 * colour_of(model, geom))
    return vertices


def _triangles(model: mujoco.MjModel, geom: int) -> tuple[Floats, Floats]:
    """Return the vertices (3 T, 3) [m] and normals (3 T, 3) of a shape in its own frame.

    A shape of an unknown type has no triangles.
    """
    kinds = mujoco.mjtGeom
    kind = int(model.geom_type[geom])
    size = np.asarray(model.geom_size[geom], np.float32)
    if kind == kinds.mjGEOM_MESH:
        return _mesh(model, int(model.geom_dataid[geom]))
    if kind == kinds.mjGEOM_BOX:
        return _box(size)
    if kind == kinds.mjGEOM_CYLINDER:
        return _cylinder(float(size[0]), float(size[1]))
    if kind == kinds.mjGEOM_CAPSULE:
        return _round(np.full(3, size[0], np.float32), float(size[1]))
    if kind == kinds.mjGEOM_SPHERE:
        return _round(np.full(3, size[0], np.float32), 0.0)
    if kind == kinds.mjGEOM_ELLIPSOID:
        return _round(size, 0.0)
    return np.empty((0, 3), np.float32), np.empty((0, 3), np.float32)


def _mesh(model: mujoco.MjModel, mesh: int) -> tuple[Floats, Floats]:
    """Return vertices and normals of a mesh, see `_triangles`.

    A normal of the model is replaced by that of its face where the two differ by more than 60
    degrees: at an edge.
    """
    first = int(model.mesh_faceadr[mesh])
    faces = slice(first, first + int(model.mesh_facenum[mesh]))
    points = model.mesh_vert[model.mesh_vertadr[mesh] + model.mesh_face[faces].ravel()]
    normals = model.mesh_normal[model.mesh_normaladr[mesh] + model.mesh_facenormal[faces].ravel()]
    corners = points.reshape(-1, 3, 3)
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat = np.repeat(flat / np.maximum(np.linalg.norm(flat, axis=1), 1e-12)[:, None], 3, 0)
    is_edge = np.einsum("ij,ij->i", normals, flat) < 0.5
    normals = np.where(is_edge[:, None], flat, normals)
    return np.asarray(points, np.float32), np.asarray(normals, np.float32)


def _box(half: Floats) -> tuple[Floats, Floats]:
    """Return vertices and normals of a box with half sizes (3,), see `_triangles`."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, -1], [1, 1], [-1, 1]], np.float32)
    points = []
    normals = []
    for axis in range(3):
        for sign in (1.0, -1.0):
            face = np.empty((6, 3), np.float32)
            face[:, axis] = sign
            face[:, (axis + 1) % 3] = corners[:, 0] * sign
            face[:, (axis + 2) % 3] = corners[:, 1]
            points.append(face * half)
            normals.append(np.tile(np.eye(3, dtype=np.float32)[axis] * sign, (6, 1)))
    return np.concatenate(points), np.concatenate(normals)


def _round(radii: Floats, half_length: float) -> tuple[Floats, Floats]:
    """Return vertices and normals of an ellipsoid that is drawn apart along z, see `_triangles`.

    Args:
        radii: Radii (3,) [m].
        half_length: Distance of each half from the centre [m]; 0: an ellipsoid or a sphere, with
            equal radii above 0 a capsule.
    """
    angles = np.linspace(-np.pi / 2, np.pi / 2, 2 * RINGS + 1)
    shift = np.where(angles < 0, -1.0, 1.0)
    # the equator twice: once for each half
    angles = np.insert(angles, RINGS, 0.0)
    shift = np.insert(shift, RINGS, -1.0)
    unit = _revolve(np.cos(angles), np.sin(angles))
    offset = _revolve(np.zeros_like(shift), shift)[:, 2:] * half_length
    points = unit * radii
    points[:, 2:] += offset
    return points.astype(np.float32), (unit / radii).astype(np.float32)


def _cylinder(radius: float, half_length: float) -> tuple[Floats, Floats]:
    """Return vertices and normals of a cylinder along z, see `_triangles`."""
    side = _revolve(np.full(2, radius), np.array([-half_length, half_length]))
    side_normals = _revolve(np.ones(2), np.zeros(2))
    parts = [side]
    normals = [side_normals]
    for sign in (-1.0, 1.0):
        rim = np.array([0.0, radius]) if sign < 0 else np.array([radius, 0.0])
        parts.append(_revolve(rim, np.full(2, sign * half_length)))
        normals.append(_revolve(np.zeros(2), np.full(2, sign)))
    return np.concatenate(parts), np.concatenate(normals)


def _revolve(radii: npt.NDArray[np.float64], heights: npt.NDArray[np.float64]) -> Floats:
    """Return the surface (3 T, 3) that a profile sweeps around the z axis.

    Args:
        radii: Distance of each point of the profile from the axis (P,), from below to above.
        heights: Height of each point (P,).
    """
    turns = np.linspace(0.0, 2 * np.pi, SLICES + 1)
    around = np.stack((np.cos(turns), np.sin(turns)), -1)
    rings = np.concatenate(
        (
            radii[:, None, None] * around[None],
            np.broadcast_to(heights[:, None, None], (len(heights), SLICES + 1, 1)),
        ),
        -1,
    )
    below, above = rings[:-1], rings[1:]
    corners = (
        below[:, :-1],
        below[:, 1:],
        above[:, 1:],
        below[:, :-1],
        above[:, 1:],
        above[:, :-1],
    )
    return np.stack(corners, 2).reshape(-1, 3).astype(np.float32)
