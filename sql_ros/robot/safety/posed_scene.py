"""The arm and its surroundings in MuJoCo, at joint positions that the caller sets, without
any physics.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.model import load_model

HORIZON_M = 0.3  # larger distances are not measured


class PosedScene:
    """A scene whose arm can be set to joint positions.

    Options of the scene that would change distances are not used.

    Args:
        config: The arm.
        scene: MJCF with the arm and its surroundings, relative to the share folder.

    Attributes:
        model: MuJoCo model of the scene.
        data: MuJoCo data at the joint positions set last.
        joints: Joints of the arm in command order.
        position_address: Indices of the joints in `data.qpos` (N,).
        velocity_address: Indices of the joints in `data.qvel` (N,).

    Raises:
        ConfigError: The scene cannot be read, or lacks a joint or the tool site.
    """

    def __init__(self, config: RobotConfig, scene: str) -> None:
        self.model, self.joints = load_scene(config, scene)
        _reset_options(self.model)
        self._roots = {
            int(self.model.body_rootid[self.model.jnt_bodyid[joint.id]]) for joint in self.joints
        }
        self.position_address = np.array([joint.qposadr[0] for joint in self.joints])
        self.velocity_address = np.array([joint.dofadr[0] for joint in self.joints])
        self.data = mujoco.MjData(self.model)
        self._positions = self.data.qpos  # a view, whose creation takes time

    def place(self, position: Vector) -> None:
        """Set the joint positions (N,) [rad], and compute where all shapes then are in `data`."""
        self._positions[self.position_address] = position
        mujoco.mj_kinematics(self.model, self.data)

    def jacobian(self, point: Vector, body: int) -> Vector:
        """Return the velocity of a point per joint velocity (3, N) [m/rad], at the pose set last.

        The caller must have called `mj_comPos` for that pose.

        Args:
            point: Position of the point in the world frame (3,) [m].
            body: Index of the body that the point is fixed to.
        """
        jacobian = np.zeros((3, self.model.nv))
        mujoco.mj_jac(self.model, self.data, jacobian, None, point, body)
        return np.asarray(jacobian[:, self.velocity_address])

    def arm_joints(self, body: int) -> npt.NDArray[np.bool_]:
        """Return for each joint of the arm whether it moves a body (N,).

        Args:
            body: Index of the body.
        """
        dofs = moving_dofs(self.model, body)
        return np.array([address in dofs for address in self.velocity_address])

    def excluded(self) -> list[tuple[str, str]]:
        """Return the pairs of bodies of every <exclude> that the arm moves against each other, by
        name.
        """
        pairs = [divmod(int(signature), 2**16) for signature in self.model.exclude_signature]
        return [
            (str(self.model.body(one).name), str(self.model.body(two).name))
            for one, two in pairs
            if (self.arm_joints(one) != self.arm_joints(two)).any()
        ]

    def is_arm(self, body: int) -> bool:
        """Return whether a body, given by its index, is of the arm or held by it."""
        return int(self.model.body_rootid[body]) in self._roots


def load_scene(config: RobotConfig, scene: str) -> tuple[mujoco.MjModel, list[Any]]:
    """Load an MJCF, and find the arm in it.

    Args:
        config: The arm.
        scene: Path of the MJCF, relative to the share folder.

    Returns:
        The model, and the arm's joints in command order.

    Raises:
        ConfigError: The MJCF cannot be read, or lacks a joint or the tool site.
    """
    model = load_model(config, scene)
    try:
        model.site(config.tool)
        return model, [model.joint(name) for name in config.joints]
    except KeyError as error:
        raise ConfigError(f"robot '{config.name}', MJCF {scene}: {error}") from None


def _reset_options(model: mujoco.MjModel) -> None:
    """Give a model MuJoCo's own options for distances, whatever its MJCF sets.

    Args:
        model: The MuJoCo model, which is changed.
    """
    default = mujoco.MjSpec().compile().opt
    for name in ("ccd_iterations", "ccd_tolerance", "sdf_iterations", "sdf_initpoints"):
        setattr(model.opt, name, getattr(default, name))
    model.opt.disableflags = default.disableflags
    model.opt.enableflags = default.enableflags


def has_bits(model: mujoco.MjModel) -> npt.NDArray[np.bool_]:
    """Return which geoms have any bit of `contype` or `conaffinity` (G,); the others are for the
    eye.
    """
    return np.asarray((model.geom_contype | model.geom_conaffinity) != 0)


def moving_dofs(model: mujoco.MjModel, body: int) -> set[int]:
    """Return the indices in `qvel` of all degrees of freedom that move a body, of the arm or not.

    Args:
        model: The MuJoCo model.
        body: Index of the body.
    """
    dofs: set[int] = set()
    while body:
        first = model.body_dofadr[body]
        count = model.body_dofnum[body]
        dofs |= set(range(first, first + count))
        body = model.body_parentid[body]
    return dofs
