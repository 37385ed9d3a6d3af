"""Joints that follow a controller. Pure: time comes in as steps."""

from __future__ import annotations

import numpy as np

from sql_ros.checks.drivers.controllers import Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.sim.simulation import Simulation

SERVO_S = 0.01  # time constant with which a joint follows its command
SPRING_S = 0.3  # time constant with which a joint that was pushed away from its command returns


class KinematicArm:
    """Joints without dynamics: each follows its command as a first-order lag.

    Args:
        position: at first (N,) [rad].
        servo_s: time constant with which a joint follows its command [s].

    Attributes:
        position: (N,) [rad].
        velocity: (N,) [rad/s].
        effort: (N,) [N m], always zero.
        push: speed at which somebody moves the joints by hand (N,) [rad/s].
        is_stopped: a protective stop is in force: the brakes are on.
    """

    def __init__(self, position: Vector, servo_s: float = SERVO_S) -> None:
        self._servo_s = servo_s
        self._bent = np.zeros(len(position))
        self.position = np.array(position, np.float64)
        self.velocity = np.zeros_like(self.position)
        self.effort = np.zeros_like(self.position)
        self.push = np.zeros_like(self.position)
        self.is_stopped = False

    def advance(self, step_s: float, interface: str, setpoint: Vector | None) -> None:
        """Move for a time.

        Args:
            step_s: how long [s].
            interface: "position" or "velocity", of the setpoint.
            setpoint: (N,) in the unit of the interface; None: no controller, the drives hold.
        """
        before = self.position
        if self.is_stopped or step_s <= 0.0:
            self.velocity = np.zeros_like(before)
            return
        share = 1.0 - np.exp(-step_s / self._servo_s)
        if setpoint is not None and interface == "position":
            self._bend(step_s)
            self.position = before + share * (setpoint + self._bent - before)
        else:
            wanted = np.zeros_like(before) if setpoint is None else setpoint
            wanted = wanted + self.push
            travelled = wanted * step_s + (self.velocity - wanted) * self._servo_s * share
            self.position = before + travelled
        if setpoint is not None and interface == "position":
            self.velocity = (self.position - before) / step_s
        else:
            self.velocity = self.velocity + share * (wanted - self.velocity)

    def _bend(self, step_s: float) -> None:
        """Move the pose that a position servo is pushed to, which springs back."""
        left = np.exp(-step_s / SPRING_S)
        self._bent = self._bent * left + self.push * step_s


class DynamicArm:
    """The simulated arm of a scene under torque commands, for controllers of effort.

    Args:
        scene: MJCF, relative to the share folder.
        robot: the arm.
        position: at first (N,) [rad].

    Attributes:
        push: has no effect here; see `KinematicArm`.
        is_stopped: a protective stop is in force: the brakes are on.
    """

    def __init__(self, scene: str, robot: RobotConfig, position: Vector) -> None:
        self._simulation = Simulation(scene, robot)
        self._simulation.reset(position)
        self._step_s = self._simulation.model.opt.timestep
        self._left_s = 0.0
        self._was_stopped = False
        self.push = np.zeros(len(robot.joints))
        self.is_stopped = False
        self._measure()

    def advance(self, step_s: float, interface: str, setpoint: Vector | None) -> None:
        """Move for a time; see `KinematicArm.advance`. The interface is "effort"."""
        if self.is_stopped:
            self.velocity = np.zeros_like(self.position)
            self._was_stopped = True
            return
        if self._was_stopped:
            self._simulation.reset(self.position)
            self._was_stopped = False
        torque = np.zeros_like(self.position) if setpoint is None else setpoint
        self._left_s += step_s
        count = int(self._left_s / self._step_s)
        self._left_s -= count * self._step_s
        for _ in range(count):  # in parts, or the simulation's command timeout would end the command
            self._simulation.command("torque", torque)
            self._simulation.advance(1)
        self._measure()

    def _measure(self) -> None:
        measured = self._simulation.measure()
        self.position = np.array(measured.position)
        self.velocity = np.array(measured.velocity)
        self.effort = np.array(measured.effort)
