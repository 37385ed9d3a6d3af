"""The effect of torques on the arm within one control period, computed with the arm's mass
matrix.
"""

from __future__ import annotations

import mujoco
import numpy as np

from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.safety.posed_scene import load_scene


class Dynamics:
    """Joint-space dynamics without contacts, by the midpoint rule.

    M dv / T = tau - c - D v, with the mass matrix M, the Coriolis and centrifugal torques c and the
    damping D, all in the middle of the period T.

    Torques tau are those of commands, which are added to the arm's own gravity compensation.
    Friction is left out. A load in the hand adds its inertia, and its weight unless the arm's
    gravity compensation knows it.

    Args:
        config: The arm.
        scene: MJCF with the arm, relative to the share folder.
        period_s: Control period T [s].

    Attributes:
        period_s: As given.
        load_kg: Mass of the load at the centre that the config declares [kg]; set by the caller, at
            first 0. Without a declared payload it has no effect.

    Raises:
        ConfigError: The scene cannot be read, or lacks a joint or the tool site.
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
        self._hand = int(self._model.site(config.tool).bodyid[0])
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, self._model.site(config.tool).quat)
        self._center = self._model.site(config.tool).pos + turn.reshape(3, 3) @ np.array(
            config.payload_center_m
        )  # in the frame of the hand
        self._compensated_kg = config.payload_kg if config.payload_is_compensated else 0.0
        self._has_load = config.payload_kg > 0.0
        self.load_kg = 0.0
        self._mass = np.zeros((self._model.nv, self._model.nv))

    def velocity_after(self, torque: Vector, position: Vector, velocity: Vector) -> Vector:
        """Compute the joint velocities one period later under a constant torque (N,) [rad/s].

        Args:
            torque: Joint torques (N,) [N m].
            position: Joint positions at the start of the period (N,) [rad].
            velocity: Joint velocities at the start of the period (N,) [rad/s].
        """
        after = velocity
        for _ in range(2):  # the middle of the period depends on its end
            inertia, resistance = self._between(position, velocity, after)
            change = self.period_s * np.linalg.solve(inertia, torque - resistance)
            after = velocity + change
        return np.asarray(after)

    def torque_for(self, after: Vector, position: Vector, velocity: Vector) -> Vector:
        """Compute the constant torque that leads to joint velocities one period later (N,) [N m].

        Args:
            after: Joint velocities one period later (N,) [rad/s].
            position: Joint positions at the start of the period (N,) [rad].
            velocity: Joint velocities at the start of the period (N,) [rad/s].
        """
        inertia, resistance = self._between(position, velocity, after)
        return np.asarray(inertia @ (after - velocity) / self.period_s + resistance)

    def gravity(self, position: Vector) -> Vector:
        """Return the motor torques of the arm's own gravity compensation at a pose (N,) [N m].

        They include the declared payload if the compensation knows it (`payload_is_compensated`).

        Args:
            position: Joint positions (N,) [rad].
        """
        self._place(position)
        own = self._bias(np.zeros_like(position), self._gravity)
        return (
            own + self._compensated_kg * self._weight(self._load_jacobian())
            if self._compensated_kg
            else own
        )

    def carries(self, position: Vector, effort_limit: Vector, load_kg: float) -> bool:
        """Return whether the motors can hold the arm with a load at a pose.

        Args:
            position: Joint positions (N,) [rad].
            effort_limit: Largest torques of the motors (N,) [N m].
            load_kg: Mass of the load [kg].
        """
        self._place(position)
        holding = self._bias(np.zeros_like(position), self._gravity) + load_kg * self._weight(
            self._load_jacobian()
        )
        return bool((np.abs(holding) <= effort_limit).all())

    def sag(self, position: Vector) -> Vector:
        """Return the change of velocity within a period by the weight of one kilogram in the hand
        (N,) [rad/s per kg].

        Args:
            position: Joint positions of the arm, at rest at first (N,) [rad].
        """
        inertia, _ = self._between(position, np.zeros_like(position), np.zeros_like(position))
        return np.asarray(
            self.period_s * np.linalg.solve(inertia, self._weight(self._load_jacobian()))
        )

    def required_torque(
        self, position: Vector, velocity: Vector, after: Vector, elapsed_s: float
    ) -> tuple[Vector, Vector, Vector]:
        """Compute the torques that a measured motion required.

        Args:
            position: Joint positions at the start of the motion (N,) [rad].
            velocity: Joint velocities at the start of the motion (N,) [rad/s].
            after: Joint velocities at the end of the motion (N,) [rad/s].
            elapsed_s: Duration of the motion [s].

        Returns:
            The torque of the arm alone, beside gravity compensation (N,) [N m]; the torque that
            each kilogram of load adds (N,) [N m/kg]; and the part of the latter that is due to
            weight alone (N,) [N m/kg].
        """
        middle = 0.5 * (velocity + after)
        acceleration = (after - velocity) / elapsed_s
        self._place(position + 0.125 * elapsed_s * (3.0 * velocity + after))
        mujoco.mj_makeM(self._model, self._data)
        mujoco.mj_fullM(self._model, self._data, self._mass)
        own = (
            self._mass[self._square] @ acceleration
            + self._bias(middle, np.zeros(3))
            + self._damping * middle
        )
        jacobian = self._load_jacobian()
        weight = self._weight(jacobian)
        return (
            own,
            jacobian.T @ (jacobian @ acceleration + self._load_jacobian_rate() @ middle) + weight,
            weight,
        )

    def _place(self, position: Vector) -> None:
        """Set the pose (N,) [rad], and compute what Jacobians and the mass matrix need."""
        self._data.qpos[self._position_address] = position
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)

    def _load_point(self) -> Vector:
        """Return the centre of the load in the world frame (3,) [m], at the pose set last."""
        return np.asarray(
            self._data.xpos[self._hand] + self._data.xmat[self._hand].reshape(3, 3) @ self._center
        )

    def _load_jacobian(self) -> Vector:
        """Return the Jacobian of the load's centre (3, N) [m/rad], at the pose set last."""
        whole = np.zeros((3, self._model.nv))
        mujoco.mj_jac(self._model, self._data, whole, None, self._load_point(), self._hand)
        return np.asarray(whole[:, self._velocity_address])

    def _load_jacobian_rate(self) -> Vector:
        """Return the time derivative of the Jacobian of the load's centre (3, N) [m/(rad s)].

        The pose is that of `_place`, the velocity that of `_bias`, of the last call each.
        """
        whole = np.zeros((3, self._model.nv))
        mujoco.mj_jacDot(self._model, self._data, whole, None, self._load_point(), self._hand)
        return np.asarray(whole[:, self._velocity_address])

    def _weight(self, jacobian: Vector) -> Vector:
        """Return the joint torques that hold one kilogram (N,) [N m/kg].

        Args:
            jacobian: Jacobian of the centre of mass (3, N) [m/rad].
        """
        return np.asarray(-jacobian.T @ self._gravity)

    def _between(self, position: Vector, velocity: Vector, after: Vector) -> tuple[Vector, Vector]:
        """Compute the inertia and the resisting torques in the middle of a period.

        Where damping brakes a joint within a period, its velocity is not linear in time. The
        inertia M' = M x / (2 tanh(x / 2)) with x = T D / M makes the midpoint rule exact for a
        single joint.

        Args:
            position: Joint positions at the start of the period (N,) [rad].
            velocity: Joint velocities at the start of the period (N,) [rad/s].
            after: Joint velocities at the end of the period (N,) [rad/s].

        Returns:
            The inertia matrix (N, N) [kg m^2], and the torques that resist the motion (N,) [N m].
        """
        model = self._model
        data = self._data
        period = self.period_s
        middle = 0.5 * (velocity + after)
        self._place(position + 0.125 * period * (3.0 * velocity + after))
        mujoco.mj_makeM(model, data)
        mujoco.mj_fullM(model, data, self._mass)
        inertia = self._mass[self._square]
        own = np.diag(inertia)
        decay = period * self._damping / own + 1e-9
        inertia = inertia + np.diag(own * (0.5 * decay / np.tanh(0.5 * decay) - 1.0))
        resistance = self._bias(middle, np.zeros(3)) + self._damping * middle
        if self._has_load:
            jacobian = self._load_jacobian()
            inertia = inertia + self.load_kg * jacobian.T @ jacobian
            # absurdly large torques overflow, and the result is not finite
            with np.errstate(over="ignore", invalid="ignore"):
                resistance = resistance + self.load_kg * (
                    jacobian.T @ (self._load_jacobian_rate() @ middle)
                )
            resistance = resistance + (self.load_kg - self._compensated_kg) * self._weight(jacobian)
        return inertia, resistance

    def _bias(self, velocity: Vector, gravity: Vector) -> Vector:
        """Return the Coriolis, centrifugal and gravity torques (N,) [N m] at the pose set last.

        Args:
            velocity: Joint velocities (N,) [rad/s], which are also set in the model.
            gravity: Gravitational acceleration (3,) [m/s^2]; zeros leave out gravity.
        """
        self._data.qvel[self._velocity_address] = velocity
        self._model.opt.gravity[:] = gravity
        mujoco.mj_comVel(self._model, self._data)
        bias = np.zeros(self._model.nv)
        mujoco.mj_rne(self._model, self._data, 0, bias)
        return np.asarray(bias[self._velocity_address])
