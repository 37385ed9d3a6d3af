"""Joints that follow a controller; pure, time comes in as steps."""

from __future__ import annotations

import numpy as np

from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.sim.simulation import Simulation

SERVO_S = 0.01  # time constant with which a joint follows its command
SPRING_S = 0.3  # time constant with which a joint that was pushed away from its command returns


def wiring_matrix(wiring: str, size: int) -> Vector | None:
    """Return the error of a driver in passing commands on, as a matrix.

    Args:
        wiring: "right", or an error of the second joint: "flipped" sign, "doubled" scale, or
            "swapped" with the third joint.
        size: Number of joints N, at least 3.

    Returns:
        Matrix (N, N) that the commands are multiplied with; None: no error.
    """
    if wiring == "right":
        return None
    matrix = np.eye(size)
    if wiring == "swapped":
        matrix[[1, 2]] = matrix[[2, 1]]
    else:
        matrix[1, 1] = {"flipped": -1.0, "doubled": 2.0}[wiring]
    return matrix


class KinematicArm:
    """Joints without dynamics: each follows its command as a first-order lag.

    Args:
        position: Pose at the start (N,) [rad].
        servo_s: Time constant with which a joint follows its command [s].

    Attributes:
        position: Positions (N,) [rad].
        velocity: Velocities (N,) [rad/s].
        effort: Efforts (N,) [N m], always zero.
        push: Speed at which the joints are moved by hand (N,) [rad/s]; set from outside, zero: no
            push.
        is_stopped: Whether the brakes are closed by a protective stop; set from outside.
    """

    def __init__(self, position: Vector, servo_s: float = SERVO_S) -> None:
        self._servo_s = servo_s
        self._deflection = np.zeros(len(position))
        self.position = np.array(position, np.float64)
        self.velocity = np.zeros_like(self.position)
        self.effort = np.zeros_like(self.position)
        self.push = np.zeros_like(self.position)
        self.is_stopped = False

    def advance(self, step_s: float, interface: str, setpoint: Vector | None) -> None:
        """Move the joints for a time. Closed brakes keep them where they are, at velocity zero.

        Args:
            step_s: Length of the time [s]; 0 or less: no motion, and the velocity becomes zero.
            interface: Meaning of the set-point: "position" [rad] or "velocity" [rad/s].
            setpoint: Set-point (N,) in the unit of the interface; None: there is no controller, and
                the drives hold the arm.
        """
        before = self.position
        if self.is_stopped or step_s <= 0.0:
            self.velocity = np.zeros_like(before)
            return
        share = 1.0 - np.exp(-step_s / self._servo_s)
        if setpoint is not None and interface == "position":
            self._advance_deflection(step_s)
            self.position = before + share * (setpoint + self._deflection - before)
        else:
            wanted = np.zeros_like(before) if setpoint is None else setpoint
            wanted = wanted + self.push
            travelled = wanted * step_s + (self.velocity - wanted) * self._servo_s * share
            self.position = before + travelled
        if setpoint is not None and interface == "position":
            self.velocity = (self.position - before) / step_s
        else:
            self.velocity = self.velocity + share * (wanted - self.velocity)

    def _advance_deflection(self, step_s: float) -> None:
        """Advance by how far a push has moved the position servos away; the deflection springs
        back.

        Args:
            step_s: Length of the step [s].
        """
        left = np.exp(-step_s / SPRING_S)
        self._deflection = self._deflection * left + self.push * step_s


class DynamicArm:
    """The simulated arm of a scene under torque commands, for effort controllers.

    Args:
        scene: MJCF, relative to the share folder.
        robot: The arm.
        position: Pose at the start (N,) [rad].

    Attributes:
        position: Positions (N,) [rad].
        velocity: Velocities (N,) [rad/s].
        effort: Efforts (N,) [N m].
        push: Has no effect on this arm (N,).
        is_stopped: Whether the brakes are closed by a protective stop; set from outside.
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
        """Simulate the arm for a time, in whole physics steps; the rest of the time is kept for the
        next call.

        Closed brakes keep the arm where it is. When they open, it begins at rest.

        Args:
            step_s: Length of the time [s].
            interface: Unused; the set-point is an effort.
            setpoint: Torques (N,) [N m]; None: there is no controller, and the torques are zero.
        """
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
        # one by one: the simulation's command timeout would end a command that is not repeated
        for _ in range(count):
            self._simulation.command("torque", torque)
            self._simulation.advance(1)
        self._measure()

    def _measure(self) -> None:
        """Read position, velocity and effort from the simulation."""
        measured = self._simulation.measure()
        self.position = np.array(measured.position)
        self.velocity = np.array(measured.velocity)
        self.effort = np.array(measured.effort)
