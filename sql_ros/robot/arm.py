"""Kinematics of the arm from its MJCF: the pose of the tool for joint positions, and the
inverse.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.common.errors import ConfigError
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.model import load_model
from sql_ros.robot.objects import NO_OBJECTS, Objects

Vector = npt.NDArray[np.float64]
# largest jump of a position beyond the velocity limits: encoder noise and the servo's overshoot
JUMP_RAD = 0.05
# largest speed of an arm that is pushed or whose servo overshoots, as a multiple of its limits
FASTEST = 1.5
LONGEST_GAP_S = 0.5  # a longer gap between states allows no larger motion than this one
# the position limits of a config may exceed those of the MJCF by the rounding to two decimals
ROUNDING_RAD = 5e-3
# largest number of steps of the inverse kinematics
SOLVER_STEPS = 200
SOLVED = 1e-4  # largest error of position [m] and rotation [rad]
LONGEST_STEP_RAD = 0.3  # largest change of a joint in one step


@dataclass(frozen=True)
class RobotState:
    """The arm at one instant, measured or simulated. Tasks are functions of it.

    Attributes:
        stamp_ns: Time of measurement on the clock of the robot [ns].
        position: Joint positions (N,) [rad], in the joint order of the robot file.
        velocity: Joint velocities (N,) [rad/s].
        effort: Measured joint torques (N,) [N m]; NaN where the arm measures none.
        tool_position: Position of the tool in the base frame (3,) [m].
        tool_rotation: Axes of the tool in the base frame, as columns (3, 3).
        objects: Last known pose of each object that the task observes, by name.
    """

    stamp_ns: int
    position: Vector
    velocity: Vector
    effort: Vector
    tool_position: Vector
    tool_rotation: Vector
    objects: Objects = field(default_factory=lambda: NO_OBJECTS)


def has_jumped(last: RobotState, state: RobotState, velocity_limit: Vector) -> bool:
    """Return whether a joint moved farther between two states than the arm can move.

    A joint may move by `JUMP_RAD`, plus `FASTEST` times its velocity limit times the time between
    the stamps. Of that time at most `LONGEST_GAP_S` counts.

    Args:
        last: The last state.
        state: The new state.
        velocity_limit: Velocity limits of the joints (N,) [rad/s].
    """
    elapsed = min((state.stamp_ns - last.stamp_ns) * 1e-9, LONGEST_GAP_S)
    # a loop: numpy takes twice as long for so few values
    moves = zip(state.position.tolist(), last.position.tolist(), velocity_limit.tolist())
    return any(
        abs(now - before) > JUMP_RAD + FASTEST * elapsed * fastest for now, before, fastest in moves
    )


def is_too_fast(state: RobotState, velocity_limit: Vector) -> bool:
    """Return whether a joint is reported to be faster than `FASTEST` times its velocity limit.

    Args:
        state: State with the reported velocities.
        velocity_limit: Velocity limits of the joints (N,) [rad/s].
    """
    return any(
        abs(speed) > FASTEST * fastest
        for speed, fastest in zip(state.velocity.tolist(), velocity_limit.tolist())
    )


class Arm:
    """Forward and inverse kinematics by MuJoCo, without stepping any physics.

    An instance has buffers that every method overwrites. So it belongs to one thread.

    Args:
        config: The arm.

    Attributes:
        config: As given.
        size: Number of joints N.
        is_hinge: Which joints turn (N,); the others slide.

    Raises:
        ConfigError: The MJCF cannot be read, lacks a joint or the tool site of the config, or has a
            joint whose range is narrower than the position limits of the config.
    """

    def __init__(self, config: RobotConfig) -> None:
        self.config = config
        self.size = len(config.joints)
        self._model = load_model(config)
        try:
            self._address = np.array([self._model.joint(name).qposadr[0] for name in config.joints])
            self._dofs = np.array([self._model.joint(name).dofadr[0] for name in config.joints])
            self._site = self._model.site(config.tool).id
        except KeyError as error:
            raise ConfigError(f"robot '{config.name}', model {config.model}: {error}") from None
        kinds = np.array([self._model.joint(name).type[0] for name in config.joints])
        self.is_hinge = kinds == mujoco.mjtJoint.mjJNT_HINGE
        self._check_range()
        self._data = mujoco.MjData(self._model)
        # kept because creating a view takes time
        self._pose = self._data.qpos
        self._tool_position = self._data.site_xpos[self._site]
        self._tool_rotation = self._data.site_xmat[self._site].reshape(3, 3)

    def _check_range(self) -> None:
        """Check that the position limits of the config are no wider than the joint ranges of the
        MJCF.

        Joints without a range pass. `ROUNDING_RAD` is tolerated.

        Raises:
            ConfigError: A position limit is wider.
        """
        config = self.config
        for name, low, high in zip(config.joints, config.position_lower, config.position_upper):
            joint = self._model.joint(name)
            least, most = joint.range.tolist()
            if joint.limited and (low < least - ROUNDING_RAD or high > most + ROUNDING_RAD):
                raise ConfigError(
                    f"robot '{config.name}': 'position_lower' and 'position_upper' of {name} are"
                    f" {low:.6g} and {high:.6g}, but in {config.model} its range is {least:.6g} to"
                    f" {most:.6g}: radians? (the MJCF's unit is its compiler's angle)"
                )

    def state(
        self,
        stamp_ns: int,
        position: Vector,
        velocity: Vector,
        effort: Vector,
        objects: Objects = NO_OBJECTS,
    ) -> RobotState:
        """Return a state with joint values and the pose of the tool that follows from them.

        Args:
            stamp_ns: Time of measurement [ns].
            position: Joint positions (N,) [rad]. All three arrays are copied.
            velocity: Joint velocities (N,) [rad/s].
            effort: Joint torques (N,) [N m]; NaN where not measured.
            objects: Poses of the objects that the task observes, by name.
        """
        self._pose[self._address] = position
        mujoco.mj_kinematics(self._model, self._data)
        return RobotState(
            stamp_ns=stamp_ns,
            position=np.array(position, np.float64),
            velocity=np.array(velocity, np.float64),
            effort=np.array(effort, np.float64),
            tool_position=self._tool_position.copy(),
            tool_rotation=self._tool_rotation.copy(),
            objects=objects,
        )

    def tool_position(self, position: Vector) -> Vector:
        """Return the position of the tool (3,) [m] at joint positions (N,) [rad]."""
        zeros = np.zeros(self.size)
        return self.state(0, position, zeros, zeros).tool_position

    def jacobian(self, position: Vector) -> Vector:
        """Return the Jacobian of the tool in the base frame (6, N).

        Rows 0 to 2 give the linear velocity of the tool [m/rad], rows 3 to 5 its angular velocity
        [rad/rad].

        Args:
            position: Joint positions (N,) [rad].
        """
        self._pose[self._address] = position
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        whole = np.zeros((6, self._model.nv))
        mujoco.mj_jacSite(self._model, self._data, whole[:3], whole[3:], self._site)
        return np.asarray(whole[:, self._dofs])

    def solve(self, tool_position: Vector, tool_rotation: Vector, start: Vector) -> Vector:
        """Solve the inverse kinematics by Gauss-Newton steps. Joint limits are ignored.

        Args:
            tool_position: Wanted position of the tool in the base frame (3,) [m].
            tool_rotation: Wanted axes of the tool in the base frame, as columns (3, 3).
            start: Joint positions to start from (N,) [rad].

        Returns:
            Joint positions (N,) [rad], usually those of the solution nearest to the start. Position
            and rotation of the tool are within `SOLVED`.

        Raises:
            ValueError: No solution was found in `SOLVER_STEPS` steps: the pose is out of reach.
        """
        position = np.array(start, np.float64)
        for _ in range(SOLVER_STEPS):
            jacobian = self.jacobian(position)
            turn = np.zeros(3)
            quaternions = np.zeros((2, 4))
            mujoco.mju_mat2Quat(
                quaternions[0], np.ascontiguousarray(tool_rotation, np.float64).ravel()
            )
            mujoco.mju_mat2Quat(quaternions[1], self._tool_rotation.ravel())
            mujoco.mju_subQuat(turn, quaternions[0], quaternions[1])  # in the frame of the tool
            turn = self._tool_rotation @ turn
            error = np.concatenate((tool_position - self._tool_position, turn))
            if np.abs(error).max() < SOLVED:
                return position
            step = np.linalg.pinv(jacobian, rcond=1e-3) @ error
            position += step / max(1.0, float(np.abs(step).max()) / LONGEST_STEP_RAD)
        raise ValueError(
            f"no joint positions found for the tool at {np.round(tool_position, 3)}: out of reach"
            f" of '{self.config.name}'"
        )


def comparison_poses(robot: RobotConfig, count: int, seed: int) -> list[Vector]:
    """Return the poses in which two models of an arm are compared: the neutral pose, then random
    ones.

    Args:
        robot: The arm.
        count: Number of random poses, uniform within the position limits.
        seed: Seed of the random poses.

    Returns:
        `count` + 1 vectors of joint positions (N,) [rad].
    """
    rng = np.random.default_rng(seed)
    random = rng.uniform(robot.position_lower, robot.position_upper, (count, len(robot.joints)))
    return [np.array(robot.neutral_position), *random]
