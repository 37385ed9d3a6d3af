"""Estimate values that a robot file leaves out from the description of the arm.

Limits of position and torque are those of the description; in a URDF also limits of speed.
Accelerations and gains of the simulated servos are computed from its masses. A limit that the
description does not state is a guess. Units are those of hinge joints; those of slide joints are
[m], [m/s], [N] and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import mujoco
import numpy as np

from sql_ros.common.data_files import find_beside
from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Vector
from sql_ros.robot.arm_description import read_description
from sql_ros.robot.config import UNLIMITED
from sql_ros.robot.urdf import compile_fault

GUESSED_SPEED = 1.0  # of a joint whose description has no speed [rad/s or m/s]
LEAST_SPEED = 0.001  # that a robot file may have [rad/s or m/s]
GUESSED_ACCELERATION = 5.0  # for which the torque of a joint without a limit is enough [rad/s^2]
MOST_ACCELERATION = 10.0  # [rad/s^2]
LEAST_ACCELERATION = 0.5  # [rad/s^2]
SHARE_FOR_MOTION = 0.5  # of the torque that gravity leaves
POSES = 64  # random poses in which inertia and gravity are computed
SEED = 0
SERVO_S = 0.01  # time constant of the simulated velocity servo
LAG_S = 0.05  # time by which the simulated position servo is behind a ramp
LOST_SHARE = 0.03  # share of a speed that the damping of the joint may cost
LOST_RAD_S = 0.02  # speed that the friction of the joint may cost
LEAST_ARMATURE = 1e-3  # least inertia of a joint, as of its drive [kg m^2]
ROUNDING = 1.01  # ratio of limits that count as the same
DIGITS = 3  # significant digits of an estimate


@dataclass(frozen=True)
class Estimate:
    """A value for each joint, and whether it is a guess.

    Attributes:
        values: Value of each joint (N,), in command order.
        is_guess: Whether a real arm must not rely on the values, because the description does not
            state them.
    """

    values: tuple[float, ...]
    is_guess: bool


class ArmEstimates:
    """Values of a robot file, computed from the description of the arm.

    Args:
        file: MJCF or URDF.
        joints: Names of the controlled joints in command order (N,).

    Raises:
        ConfigError: The description cannot be read, or lacks a joint.
    """

    def __init__(self, file: Path, joints: tuple[str, ...]) -> None:
        self._file = file
        self._spec = read_description(file)
        for body in self._spec.bodies[1:]:
            body.gravcomp = 0.0
        try:
            self._model = self._spec.compile()
            self._joints = [self._model.joint(name) for name in joints]
        except ValueError as error:
            raise ConfigError(f"{file}: {compile_fault(error)}") from None
        except KeyError as error:
            raise ConfigError(f"{file}: {error}") from None
        self._dofs = np.array([joint.dofadr[0] for joint in self._joints])
        self._speeds = _urdf_speeds(file)
        self._mass, self._gravity = self._measure()

    def _measure(self) -> tuple[Vector, Vector]:
        """Compute the largest inertia and the largest gravity torque of each joint in `POSES`
        random poses.

        Returns:
            Inertia, at least `LEAST_ARMATURE` (N,) [kg m^2]; and absolute gravity torque (N,)
            [N m].
        """
        model = self._model
        data = mujoco.MjData(model)
        rng = np.random.default_rng(SEED)
        lower, upper = self._ranges()
        mass = np.zeros(len(self._joints))
        gravity = np.zeros(len(self._joints))
        whole = np.zeros((model.nv, model.nv))
        for _ in range(POSES):
            data.qpos[[joint.qposadr[0] for joint in self._joints]] = rng.uniform(
                np.maximum(lower, -np.pi), np.minimum(upper, np.pi)
            )
            mujoco.mj_forward(model, data)
            mujoco.mj_fullM(model, data, whole)
            mass = np.maximum(mass, whole[self._dofs, self._dofs])
            gravity = np.maximum(gravity, np.abs(data.qfrc_bias[self._dofs]))
        return np.maximum(mass, LEAST_ARMATURE), gravity

    def _ranges(self) -> tuple[Vector, Vector]:
        """Return lower and upper position limits of the description, (N,) each [rad].

        They are -`UNLIMITED` and `UNLIMITED` for a joint without a range.
        """
        model = self._model
        limited = np.array([bool(model.jnt_limited[joint.id]) for joint in self._joints])
        ranges = np.array([joint.range for joint in self._joints])
        return (
            np.where(limited, ranges[:, 0], -UNLIMITED),
            np.where(limited, ranges[:, 1], UNLIMITED),
        )

    def position_lower(self) -> Estimate:
        """Return the lower position limits [rad]; a guess if a joint has no range."""
        return self._limits(0)

    def position_upper(self) -> Estimate:
        """Return the upper position limits [rad]; a guess if a joint has no range."""
        return self._limits(1)

    def _limits(self, side: int) -> Estimate:
        """Return position limits of the description.

        Args:
            side: 0 for the lower, 1 for the upper limits.

        Raises:
            ConfigError: A slide joint has no range.
        """
        values = self._ranges()[side]
        is_open = np.abs(values) >= UNLIMITED
        for joint, open_end in zip(self._joints, is_open):
            if open_end and joint.type[0] == mujoco.mjtJoint.mjJNT_SLIDE:
                raise ConfigError(
                    f"the slide joint '{joint.name}' has no range in the description: give"
                    " position_lower and position_upper [m] in the robot file"
                )
        return Estimate(tuple(values.tolist()), bool(is_open.any()))

    def find_too_high(self, velocity: Vector, effort: Vector) -> list[str]:
        """Return a line for each joint whose limits are beyond those of the description.

        Ranges of actuators do not count: they may have another unit.

        Args:
            velocity: Speed limits of the robot file (N,) [rad/s].
            effort: Torque limits of the robot file (N,) [N m].
        """
        found = []
        for joint, speed, torque in zip(self._joints, velocity, effort):
            known = self._speeds.get(joint.name, 0.0)
            if 0.0 < known < speed / ROUNDING:
                found.append(
                    f"{joint.name}: velocity_limit {speed:g}, the description has {known:g}"
                )
            strongest = self._joint_torque(joint)
            if 0.0 < strongest < torque / ROUNDING:
                found.append(
                    f"{joint.name}: effort_limit {torque:g}, the description has {strongest:g}"
                )
        return found

    def velocity_limit(self) -> Estimate:
        """Return the speed limits [rad/s].

        They are those of a URDF. A joint without a limit has `GUESSED_SPEED`, and all values then
        count as a guess.

        Raises:
            ConfigError: A speed of the URDF is below `LEAST_SPEED`.
        """
        known = [self._speeds.get(joint.name, 0.0) for joint in self._joints]
        for joint, speed in zip(self._joints, known):
            if 0.0 < speed < LEAST_SPEED:
                raise ConfigError(
                    f"{self._file}: joint '{joint.name}' has the velocity limit {speed:g}, expected"
                    f" at least {LEAST_SPEED:g} rad/s or m/s: correct it in the URDF"
                )
        if all(speed > 0.0 for speed in known):
            return Estimate(tuple(known), False)
        guessed = tuple(speed if speed > 0.0 else GUESSED_SPEED for speed in known)
        return Estimate(guessed, True)

    def effort_limit(self, acceleration: Vector | None = None) -> Estimate:
        """Return the torque limits [N m].

        They are the limits of the joints in the description, otherwise of the actuators
        (`_torque`). All values count as a guess if a joint has neither. Such a joint has three
        times its largest gravity torque, at least 3 N m, and enough for its acceleration with
        `SHARE_FOR_MOTION` of the torque that gravity leaves.

        Args:
            acceleration: Acceleration limits of the robot file (N,) [rad/s^2]; None:
                `GUESSED_ACCELERATION`.
        """
        limits = np.array([self._torque(joint) for joint in self._joints])
        if (limits > 0.0).all():
            return Estimate(_rounded(limits), False)
        wanted = GUESSED_ACCELERATION if acceleration is None else acceleration
        moving = self._gravity + self._mass * wanted / SHARE_FOR_MOTION
        guessed = np.maximum(3.0 * np.maximum(self._gravity, 1.0), moving)
        return Estimate(_rounded(np.where(limits > 0.0, limits, guessed)), True)

    def _torque(self, joint: Any) -> float:
        """Return the largest torque of a joint [N m]; 0 if the description has none.

        It is the limit of the joint. A joint without one has that of its first actuator with a
        limit: the force range times the gear; or, of a motor without a force range, the control
        range times gain and gear.

        Args:
            joint: The joint in the compiled model.
        """
        model = self._model
        if limit := self._joint_torque(joint):
            return limit
        for actuator in range(model.nu):
            is_its = model.actuator_trntype[actuator] == mujoco.mjtTrn.mjTRN_JOINT
            if not is_its or model.actuator_trnid[actuator, 0] != joint.id:
                continue
            gear = abs(float(model.actuator_gear[actuator, 0]))
            if model.actuator_forcelimited[actuator]:
                return gear * float(np.abs(model.actuator_forcerange[actuator]).max())
            is_motor = model.actuator_biastype[actuator] == mujoco.mjtBias.mjBIAS_NONE
            if is_motor and model.actuator_ctrllimited[actuator]:
                gain = abs(float(model.actuator_gainprm[actuator, 0]))
                return gear * gain * float(np.abs(model.actuator_ctrlrange[actuator]).max())
        return 0.0

    def _joint_torque(self, joint: Any) -> float:
        """Return the torque limit of a joint itself [N m]; 0 if it has none."""
        if not self._model.jnt_actfrclimited[joint.id]:
            return 0.0
        return float(np.abs(self._model.jnt_actfrcrange[joint.id]).max())

    def acceleration_limit(self, effort: Vector) -> Estimate:
        """Return the acceleration limits [rad/s^2]. They count as a guess.

        They are the accelerations by half of the torque that gravity leaves (`SHARE_FOR_MOTION`),
        clipped to `LEAST_ACCELERATION` and `MOST_ACCELERATION`.

        Args:
            effort: Torque limits (N,) [N m].
        """
        left = np.maximum(effort - self._gravity, 0.0)
        estimate = SHARE_FOR_MOTION * left / self._mass
        limited = np.clip(estimate, LEAST_ACCELERATION, MOST_ACCELERATION)
        return Estimate(_rounded(limited), True)

    def _servo_damping(self) -> Vector:
        """Return the damping of the velocity servo of each joint (N,) [N m s/rad].

        It is the smallest damping with which the servo has at most the time constant `SERVO_S`, and
        with which the joint's own damping costs at most `LOST_SHARE` of a speed and its friction at
        most `LOST_RAD_S`.
        """
        damping = self._model.dof_damping[self._dofs]
        friction = self._model.dof_frictionloss[self._dofs]
        wanted = np.maximum(self._mass / SERVO_S, damping / LOST_SHARE)
        return np.asarray(np.maximum(wanted, friction / LOST_RAD_S))

    def servo_damping(self) -> Estimate:
        """Return the damping of the simulated servos [N m s/rad]."""
        return Estimate(_rounded(self._servo_damping()), False)

    def servo_stiffness(self) -> Estimate:
        """Return the stiffness of the simulated position servo [N m/rad]."""
        stiffness = self._servo_damping() / LAG_S
        return Estimate(_rounded(stiffness), False)

    def neutral_position(self, lower: Vector, upper: Vector, margin: float) -> Estimate:
        """Return a rest pose [rad]: the pose of the first keyframe inside the limits.

        Without such a keyframe it is a guess: each joint is at 0, or in the middle of its range if
        0 is outside of the range.

        Args:
            lower: Lower position limits (N,) [rad].
            upper: Upper position limits (N,) [rad].
            margin: Least distance of the pose from each limit [rad].
        """
        low = lower + margin
        high = upper - margin
        model = self._model
        for key in range(model.nkey):
            pose = np.array([model.key_qpos[key, joint.qposadr[0]] for joint in self._joints])
            if ((pose >= low) & (pose <= high)).all():
                return Estimate(_rounded(pose), False)
        middle = np.where((low <= 0.0) & (high >= 0.0), 0.0, 0.5 * (low + high))
        return Estimate(_rounded(middle), True)


def complete_robot(values: dict[str, Any], source: Path) -> tuple[str, ...]:
    """Fill in the values per joint (`ORDER`) that a robot file leaves out.

    Position limits that are null, "continuous" or infinite become -`UNLIMITED` or `UNLIMITED`.
    Without joints or `model` nothing is filled in.

    Args:
        values: Content of the robot file, which is changed.
        source: Path of the robot file; a relative `model` is searched for in its folder first.

    Returns:
        Names of the keys that were filled with guesses, on which a real arm must not rely.

    Raises:
        ConfigError: The description cannot be read or lacks a joint; or a given value that an
            estimate needs is not a list of numbers.
    """
    joints = tuple(str(name) for name in values.get("joints") or ())
    for key, sign in (("position_lower", -1.0), ("position_upper", 1.0)):
        if isinstance(values.get(key), list):
            values[key] = [_limit(value, sign) for value in values[key]]
    missing = [key for key in ORDER if values.get(key) is None]
    if not missing or not joints or not values.get("model"):
        return ()
    estimates = ArmEstimates(find_beside(str(values["model"]), source.parent), joints)
    guesses = []
    for key in missing:
        estimate = ORDER[key](estimates, values)
        values[key] = list(estimate.values)
        if estimate.is_guess:
            guesses.append(key)
    return tuple(guesses)


def _limit(value: Any, sign: float) -> Any:
    """Return a position limit. A limit that is null, "continuous" or infinite becomes `sign` times
    `UNLIMITED`.

    Args:
        value: Value in the robot file.
        sign: -1.0 for a lower limit, 1.0 for an upper one.
    """
    is_open = value is None or value == "continuous" or value in (float("inf"), -float("inf"))
    return sign * UNLIMITED if is_open else value


def _rounded(values: Vector) -> tuple[float, ...]:
    """Return values (N,) with `DIGITS` significant digits."""
    return tuple(float(f"{value:.{DIGITS}g}") for value in values)


def _urdf_speeds(file: Path) -> dict[str, float]:
    """Return the speed limits of a URDF, name of the joint to limit [rad/s].

    The limit is 0 where the URDF states no speed. The result is empty for an MJCF, which has no
    speed limits.
    """
    root = ElementTree.parse(file).getroot()
    if root.tag != "robot":
        return {}
    return {
        joint.get("name", ""): _number(limit.get("velocity"))
        for joint in root.iter("joint")
        if (limit := joint.find("limit")) is not None
    }


def _number(text: str | None) -> float:
    """Return a number of a URDF; 0 if there is none, as where xacro has not been run."""
    try:
        return float(text or 0.0)
    except ValueError:
        return 0.0


def _array(values: Mapping[str, Any], key: str) -> Vector:
    """Return the value of a key of a robot file as an array (N,).

    Raises:
        ConfigError: The value is not a list of numbers.
    """
    try:
        return np.array([float(value) for value in values[key]])
    except (TypeError, ValueError):
        raise ConfigError(f"'{key}' is {values[key]}, expected a number per joint") from None


# keys in the order in which they are estimated, because later estimates need earlier values
ORDER: dict[str, Callable[[ArmEstimates, Mapping[str, Any]], Estimate]] = {
    "position_lower": lambda arm, values: arm.position_lower(),
    "position_upper": lambda arm, values: arm.position_upper(),
    "velocity_limit": lambda arm, values: arm.velocity_limit(),
    "effort_limit": lambda arm, values: arm.effort_limit(
        None if values.get("acceleration_limit") is None else _array(values, "acceleration_limit")
    ),
    "acceleration_limit": lambda arm, values: arm.acceleration_limit(
        _array(values, "effort_limit")
    ),
    "servo_damping": lambda arm, values: arm.servo_damping(),
    "servo_stiffness": lambda arm, values: arm.servo_stiffness(),
    "neutral_position": lambda arm, values: arm.neutral_position(
        _array(values, "position_lower"),
        _array(values, "position_upper"),
        float(values.get("position_margin_rad", 0.05)),
    ),
}
