"""What a torque does to the arm within one control period, by its own mass matrix."""

from __future__ import annotations

import mujoco
import numpy as np

from sql_ros.robot.arm import Vector
from sql_ros.robot.clearance import load_scene
from sql_ros.robot.config import RobotConfig


class Dynamics:
    """Joint-space dynamics without contacts, by the midpoint rule: M dv / T = tau - c - D v, all of it in the middle of the period.

    Torques are beside the arm's own gravity compensation. Friction and loads that the MJCF does not know are not in it.

    Attributes:
        period_s: as given.

    Args:
        config: the arm.
        scene: MJCF with the arm, relative to the share folder.
        period_s: control period T [s].
    """

    def __init__(self, config: RobotConfig, scene: str, period_s: float) -> None:
        self._model, joints = load_scene(config, scene)
        self._position_address = np.array([joint.qposadr[0] for joint in joints])
        self._velocity_address = np.array([joint.dofadr[0] for joint in joints])
        self._data = mujoco.MjData(self._model)
        self._gravity = self._model.opt.gravity.copy()
        self.period_s = period_s
        self._damping = self._model.dof_damping[self._velocity_address].copy()
        self._square = np.ix_(self._velocity_address, self._velocity_address)
        self._mass = np.zeros((self._model.nv, self._model.nv))

    def velocity_after(self, torque: Vector, position: Vector, velocity: Vector) -> Vector:
        """Joint velocities (N,) [rad/s] one period later at a constant torque (N,) [N m], from positions [rad] and velocities (N,)."""
        after = velocity
        for _ in range(2):  # the middle is not known before the end is
            inertia, resistance = self._between(position, velocity, after)
            change = self.period_s * np.linalg.solve(inertia, torque - resistance)
            after = velocity + change
        return np.asarray(after)

    def torque_for(self, after: Vector, position: Vector, velocity: Vector) -> Vector:
        """The constant torque (N,) [N m] that leads to velocities `after` (N,) [rad/s] one period later."""
        inertia, resistance = self._between(position, velocity, after)
        return np.asarray(inertia @ (after - velocity) / self.period_s + resistance)

    def gravity(self, position: Vector) -> Vector:
        """What the motors give to hold the arm, before anything else (N,) [N m]."""
        self._data.qpos[self._position_address] = position
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        return self._bias(np.zeros_like(position), self._gravity)

    def _between(self, position: Vector, velocity: Vector, after: Vector) -> tuple[Vector, Vector]:
        """Inertia (N, N) and resisting torques (N,) in the middle of a period.

        Where damping brakes a joint within a period the velocity is no straight line: the inertia M' = M x / (2 tanh(x / 2)), x = T D / M,
        makes the rule exact for a joint alone.
        """
        model, data, period = self._model, self._data, self.period_s
        middle = 0.5 * (velocity + after)
        data.qpos[self._position_address] = position + 0.125 * period * (3.0 * velocity + after)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_makeM(model, data)
        mujoco.mj_fullM(model, data, self._mass)
        inertia = self._mass[self._square]
        own = np.diag(inertia)
        decay = period * self._damping / own + 1e-9
        inertia = inertia + np.diag(own * (0.5 * decay / np.tanh(0.5 * decay) - 1.0))
        return inertia, self._bias(middle, np.zeros(3)) + self._damping * middle

    def _bias(self, velocity: Vector, gravity: Vector) -> Vector:
        """Coriolis, centrifugal and gravity torques (N,) at the pose taken."""
        self._data.qvel[self._velocity_address] = velocity
        self._model.opt.gravity[:] = gravity
        mujoco.mj_comVel(self._model, self._data)
        bias = np.zeros(self._model.nv)
        mujoco.mj_rne(self._model, self._data, 0, bias)
        return np.asarray(bias[self._velocity_address])
