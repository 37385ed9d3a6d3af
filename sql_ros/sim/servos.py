"""The joint servos of a simulated arm, which turn commands of the three modes into torques.

The setpoint is what a servo follows at present. It moves to the command at a limited rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.sim.addresses import ArmAddresses


@dataclass(frozen=True)
class ServoMode:
    """Settings of the actuators in one command mode, and of the motion of the setpoint.

    The torque of an actuator is `gain` x setpoint - `stiffness` x position - `damping` x velocity.

    Attributes:
        lower: Smallest command (N,), in the unit of the mode.
        upper: Largest command (N,), in the unit of the mode.
        gain: Torque per unit of the setpoint (N,).
        stiffness: Torque per joint position (N,) [N m/rad].
        damping: Torque per joint velocity (N,) [N m s/rad].
        most_change: Largest change of the setpoint in one physics step (N,), in the unit of the
            mode. None: the setpoint is the command.
        starts_at_velocity: When the mode begins, the setpoint is the measured velocity; if false,
            the measured position.
        adds_inertia_torque: Add the torque that the acceleration of the setpoint needs. Without it
            moving joints would pull each other along.
    """

    lower: Vector
    upper: Vector
    gain: Vector
    stiffness: Vector
    damping: Vector
    most_change: Vector | None = None
    starts_at_velocity: bool = False
    adds_inertia_torque: bool = False


def servo_modes(robot: RobotConfig, step_s: float) -> dict[str, ServoMode]:
    """Return the servo settings of an arm by command mode: "position", "velocity", "torque".

    The setpoint of a position servo moves at most with the velocity limit, that of a velocity servo
    with the acceleration limit. Torques act at once. Commands are limited to the robot's limits.

    Args:
        robot: The arm, with limits, stiffness and damping.
        step_s: Length of a physics step [s].
    """
    none = np.zeros(len(robot.joints))
    stiffness = np.array(robot.servo_stiffness)
    damping = np.array(robot.servo_damping)
    velocity_limit = np.array(robot.velocity_limit)
    effort_limit = np.array(robot.effort_limit)
    return {
        "position": ServoMode(
            lower=np.array(robot.position_lower),
            upper=np.array(robot.position_upper),
            gain=stiffness,
            stiffness=stiffness,
            damping=damping,
            most_change=step_s * velocity_limit,
        ),
        "velocity": ServoMode(
            lower=-velocity_limit,
            upper=velocity_limit,
            gain=damping,
            stiffness=none,
            damping=damping,
            most_change=step_s * np.array(robot.acceleration_limit),
            starts_at_velocity=True,
            adds_inertia_torque=True,
        ),
        "torque": ServoMode(
            lower=-effort_limit,
            upper=effort_limit,
            gain=np.ones_like(stiffness),
            stiffness=none,
            damping=none,
        ),
    }


class JointServos:
    """Run the physics while the setpoint of each servo moves to its command.

    Args:
        model: A `mujoco.MjModel`. The settings of its actuators are changed in place.
        data: Its `mujoco.MjData`. `step` advances it.
        robot: The arm.
        addresses: Indices of the arm in the model.

    Attributes:
        mode: Command mode of the present command; empty before the first one.
    """

    def __init__(self, model: Any, data: Any, robot: RobotConfig, addresses: ArmAddresses) -> None:
        self._model = model
        self._data = data
        self._addresses = addresses
        self._step_s: float = model.opt.timestep
        self._modes = servo_modes(robot, self._step_s)
        self._servo = self._modes["position"]
        self._most_change = self._servo.most_change  # see `ServoMode`, for the present command
        self._target = np.zeros(len(robot.joints))
        self._setpoint = self._target
        self.mode = ""

    def clip(self, mode: str, values: Vector) -> Vector:
        """Return a command (N,) of a mode, clipped to the limits of that mode."""
        servo = self._modes[mode]
        return np.clip(values, servo.lower, servo.upper)

    def command(self, mode: str, values: Vector, over_s: float = 0.0) -> None:
        """Set the command, which acts from the next `step` on.

        Args:
            mode: Command mode.
            values: Command (N,) in the unit of the mode, within its limits.
            over_s: Position mode: time in which the setpoint moves to the command evenly [s]. 0: it
                moves as fast as the joints may.
        """
        self._set_target(mode, values)
        if mode == "position" and over_s:
            self._spread_change(over_s)

    def hold(self) -> None:
        """Command the measured position, clipped to the limits, in position mode."""
        self._set_target("position", self._measured_position())
        self._setpoint = self._target

    def step(self, count: int) -> None:
        """Run a number of physics steps, in which the setpoint moves to the command."""
        remaining = self._move_setpoint(count)
        if remaining:
            self._data.ctrl[self._addresses.actuators] = self._target
            mujoco.mj_step(self._model, self._data, remaining)

    def _move_setpoint(self, count: int) -> int:
        """Run physics steps until the setpoint is at the command.

        Args:
            count: Largest number of steps.

        Returns:
            How many of the steps remain to be run.
        """
        actuators = self._addresses.actuators
        most_change = self._most_change
        while count and most_change is not None and (self._setpoint != self._target).any():
            setpoint = self._setpoint
            moved = np.clip(self._target, setpoint - most_change, setpoint + most_change)
            self._data.ctrl[actuators] = moved
            if self._servo.adds_inertia_torque:
                torque = self._inertia_torque((moved - setpoint) / self._step_s)
                self._data.ctrl[actuators] += torque / self._servo.gain
            mujoco.mj_step(self._model, self._data)
            self._setpoint = moved
            count -= 1
        return count

    def _set_target(self, mode: str, values: Vector) -> None:
        """Set the command that the setpoint moves to. If the mode changes, configure the actuators
        and restart the setpoint.

        Args:
            mode: Command mode.
            values: Command (N,) in the unit of the mode.
        """
        if mode != self.mode:
            self.mode = mode
            self._servo = self._modes[mode]
            self._configure_actuators(self._servo)
            self._setpoint = self._initial_setpoint(self._servo)
        self._most_change = self._servo.most_change
        self._target = values

    def _spread_change(self, over_s: float) -> None:
        """Slow the setpoint down so that it reaches the command after a time, at the earliest.

        Args:
            over_s: The time [s].
        """
        steps = max(over_s / self._step_s, 1.0)
        evenly = np.abs(self._target - self._setpoint) / steps
        fastest = self._servo.most_change
        self._most_change = evenly if fastest is None else np.minimum(evenly, fastest)

    def _configure_actuators(self, servo: ServoMode) -> None:
        """Write gain, stiffness and damping of a mode into the model."""
        actuators = self._addresses.actuators
        self._model.actuator_gainprm[actuators, 0] = servo.gain
        self._model.actuator_biasprm[actuators, 1] = -servo.stiffness
        self._model.actuator_biasprm[actuators, 2] = -servo.damping

    def _initial_setpoint(self, servo: ServoMode) -> Vector:
        """Return the measured velocities (N,) [rad/s] or positions (N,) [rad] at which a
        mode's setpoint starts.
        """
        if servo.starts_at_velocity:
            return np.asarray(self._data.qvel[self._addresses.velocity])
        return self._measured_position()

    def _measured_position(self) -> Vector:
        """Return the measured joint positions (N,) [rad], clipped to the limits."""
        return self.clip("position", self._data.qpos[self._addresses.position])

    def _inertia_torque(self, acceleration: Vector) -> Vector:
        """Return the joint torques that cause an acceleration, by the mass matrix alone (N,) [N m].

        Args:
            acceleration: Joint accelerations (N,) [rad/s^2].
        """
        whole = np.zeros(self._model.nv)
        torque = np.zeros(self._model.nv)
        whole[self._addresses.velocity] = acceleration
        mujoco.mj_mulM(self._model, self._data, torque, whole)
        return np.asarray(torque[self._addresses.velocity])
