"""A simulated arm in an MJCF scene: three command modes, limits, a command timeout,
disturbances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np

from sql_ros.common.errors import ConfigError
from sql_ros.policy.task_spec import COMMAND_MODES
from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.model import load_model
from sql_ros.robot.objects import Objects, object_addresses, pose_at, quaternion_of
from sql_ros.robot.task import Variation
from sql_ros.sim.addresses import find_arm
from sql_ros.sim.communication import CommandDelay, DelayedCommand, StateDropout
from sql_ros.sim.plant import Plant
from sql_ros.sim.servos import JointServos
from sql_ros.trials.disturbance import LARGEST, Disturbance

PUSH_UPDATE_S = 0.005  # time between two updates of the force of a push


@dataclass(frozen=True)
class SimulatedReading:
    """One reading of the simulated encoders and torque sensors.

    Attributes:
        stamp_ns: Simulated time since construction [ns].
        position: Joint positions (N,) [rad].
        velocity: Joint velocities (N,) [rad/s].
        effort: Torques of the drives on the joints (N,) [N m], MuJoCo's `qfrc_actuator`. They
            include gravity compensation where the MJCF has `actuatorgravcomp`.
    """

    stamp_ns: int
    position: Vector
    velocity: Vector
    effort: Vector


class Simulation:
    """A simulated arm in a scene.

    Torque commands are added to the gravity compensation of the arm (MJCF gravcomp). Velocity and
    position commands go to servos with the stiffness and damping of the robot file, saturated at
    the effort limits. If no command comes for `command_timeout_s`, the arm holds its position, as a
    real arm does.

    Args:
        scene: Path of an MJCF, relative to the share folder.
        robot: The arm. The scene has its joints, an actuator of the same name for each joint, and
            its tool.
        goal: Whether the scene must have a mocap body `goal`, which `place` moves to the target.
        objects: Names of the bodies that `object_poses` measures and `place_objects` moves.

    Attributes:
        robot: As given.
        model: The scene, a `mujoco.MjModel`.
        data: State of the scene, a `mujoco.MjData`.
        velocity_address: Indices of the joint velocities in `data.qvel` (N,).

    Raises:
        ConfigError: The scene cannot be read, or lacks a joint, an actuator, the tool, the goal or
            an object.
    """

    def __init__(
        self, scene: str, robot: RobotConfig, *, goal: bool = False, objects: tuple[str, ...] = ()
    ) -> None:
        self.robot = robot
        self.model = load_model(robot, scene, for_physics=True)
        self._addresses = find_arm(self.model, robot, scene)
        self.velocity_address = self._addresses.velocity
        self._mocap = {
            self.model.body(body).name: number
            for body, number in enumerate(self.model.body_mocapid)
            if number >= 0
        }
        if goal and "goal" not in self._mocap:
            raise ConfigError(
                f"scene {scene} has no mocap body 'goal', which shows the target, expected one:"
                " <body name='goal' mocap='true'/>"
            )
        self._objects = object_addresses(self.model, objects, scene)
        self.data = mujoco.MjData(self.model)
        self._servos = JointServos(self.model, self.data, robot, self._addresses)
        self._plant = Plant(self.model, self.data, self._addresses.hand)
        self._command_delay = CommandDelay()
        self._state_dropout = StateDropout()
        self._torque_factor = 1.0  # ratio of acting to commanded torque
        step_s = self.model.opt.timestep
        self._step_ns: int = round(step_s * 1e9)
        self._steps = 0  # physics steps since construction
        self._push_update_steps = max(round(PUSH_UPDATE_S / step_s), 1)
        self._timeout_steps = max(round(robot.command_timeout_s * 1e9 / self._step_ns), 1)
        # number of the physics step at which the command times out; None during a hold
        self._timeout_at: int | None = None
        self.reset(np.array(robot.neutral_position))

    @property
    def mode(self) -> str:
        """Return the command mode of the present command; "position" during a hold."""
        return self._servos.mode

    def reset(self, position: Vector) -> None:
        """Put the arm at rest in a pose, and objects where the scene file has them.

        The arm then holds the pose until the next command. The simulated time continues, and
        delayed commands stay on their way.

        Args:
            position: Joint positions (N,) [rad].
        """
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[self._addresses.position] = position
        self._hold()
        mujoco.mj_forward(self.model, self.data)

    def command(self, mode: str, values: Vector, over_s: float = 0.0) -> None:
        """Take a command, clip it to the limits of the robot, and restart the command timeout.

        It acts from the next `advance` on, or later where commands are delayed. The timeout
        restarts in both cases.

        Args:
            mode: "position" [rad], "velocity" [rad/s] or "torque" [N m].
            values: Command (N,), in the unit of the mode.
            over_s: Position mode: time in which the position is reached, as in a trajectory point
                [s]. 0: the joints move as fast as they may.

        Raises:
            ValueError: The mode is unknown, the length is wrong, or a value is not finite. The
                previous command stays in force.
        """
        if mode not in COMMAND_MODES:
            raise ValueError(f"command mode {mode!r}, expected one of {', '.join(COMMAND_MODES)}")
        count = len(self._addresses.actuators)
        if len(values) != count or not np.isfinite(values).all():
            raise ValueError(f"command {values}, expected {count} finite values")
        self._timeout_at = self._steps + self._timeout_steps
        command = DelayedCommand(mode, self._servos.clip(mode, values), over_s)
        arrived = self._command_delay.send(command)
        if arrived is not None:
            self._servos.command(arrived.mode, self._acting_values(arrived), arrived.over_s)

    def _acting_values(self, command: DelayedCommand) -> Vector:
        """Return the values of a command as they act (N,): torques times the factor that
        `vary` drew.
        """
        if command.mode == "torque":
            return command.values * self._torque_factor
        return command.values

    def vary(self, variation: Variation, rng: np.random.Generator) -> None:
        """Draw friction, damping, armature and torque of the arm, and the delay of its commands.

        This ends all disturbances and drops the commands on their way.

        Args:
            variation: Ranges of the draws, around the values of the model.
            rng: Generator that is advanced.
        """
        self._plant.vary(variation, rng)
        self._torque_factor = 1.0 + variation.torque * float(rng.uniform(-1.0, 1.0))
        self._command_delay.draw(variation.delay_steps, rng)
        self._end_disturbances()

    def _end_disturbances(self) -> None:
        """End all disturbances, and return to the arm that `vary` drew."""
        self._plant.restore()
        self._command_delay.restore()
        self._state_dropout.end()

    def disturb(self, disturbance: Disturbance) -> None:
        """Apply a disturbance. Its kind decides the effect.

        ==============  ================================================================
        kind            effect
        ==============  ================================================================
        `push`          the force `vector` [N] on `body`, which ends by itself
        `payload`       a load of `size` [kg] on the hand
        `friction`      contact friction, as drawn, times `size`
        `damping`       joint damping, as drawn, times `size`
        `delay`         commands later by `size` commands, rounded
        `lost_states`   a random share `size` of the states is dropped (`drops_state`)
        `moved_target`  the body `goal` moves to `vector` [m], and stays there
        `over`          ends all disturbances
        `reset`         the same, and the arm is at rest in its neutral position
        ==============  ================================================================

        Those without an end of their own act until "over", "reset" or the next `vary`.

        Args:
            disturbance: Kind, size and direction of the disturbance.

        Raises:
            ValueError: The size is out of range, or the scene has no body of that name.
        """
        kind = disturbance.kind
        size = disturbance.size
        if not 0.0 <= size <= LARGEST:
            raise ValueError(f"a {kind} of {size}, expected a size from 0 to {LARGEST:g}")
        # in lockstep the bridge steps until a state is not dropped, for ever with a share of 1
        if kind == "lost_states" and size >= 1.0:
            raise ValueError(f"lost_states of {size}, expected a share of less than 1")
        self._apply(disturbance)

    def _apply(self, disturbance: Disturbance) -> None:
        """Apply a disturbance whose size was checked, by its kind.

        Raises:
            ValueError: The scene has no body of that name.
        """
        size = disturbance.size
        effects: dict[str, Callable[[], None]] = {
            "push": lambda: self._plant.push(disturbance, self._steps),
            "payload": lambda: self._plant.load(size, self._steps),
            "friction": lambda: self._plant.scale_friction(size),
            "damping": lambda: self._plant.scale_damping(size),
            "delay": lambda: self._command_delay.set(round(size)),
            "lost_states": lambda: self._state_dropout.begin(size, self._steps),
            "moved_target": lambda: self.place("goal", np.array(disturbance.vector)),
            "over": self._end_disturbances,
            "reset": self._end_disturbances_and_reset,
        }
        effects[disturbance.kind]()

    def _end_disturbances_and_reset(self) -> None:
        """End all disturbances, and put the arm at rest in its neutral position."""
        self._end_disturbances()
        self.reset(np.array(self.robot.neutral_position))

    @property
    def command_delay(self) -> int:
        """Return the present delay of commands, in commands."""
        return self._command_delay.commands

    def drops_state(self) -> bool:
        """Draw whether the next state message is dropped.

        The draws are seeded with the physics step at which the disturbance "lost_states" began.
        """
        return self._state_dropout.draw()

    def advance(self, physics_steps: int) -> None:
        """Run a number of physics steps; the simulated time advances by as many time steps.

        Once the command times out, the arm holds its position.
        """
        while physics_steps:
            count = physics_steps
            if self._plant.is_pushed:
                count = min(physics_steps, self._push_update_steps)
                self._plant.apply_forces(self._steps)
            self._advance(count)
            physics_steps -= count

    def _advance(self, physics_steps: int) -> None:
        """Run physics steps with unchanged external forces. Once the command times out, hold."""
        before_timeout = physics_steps
        if self._timeout_at is not None:
            before_timeout = min(max(self._timeout_at - self._steps, 0), physics_steps)
        self._servos.step(before_timeout)
        if before_timeout < physics_steps:
            self._hold()
            self._servos.step(physics_steps - before_timeout)
        self._steps += physics_steps

    def _hold(self) -> None:
        """Hold the present position until the next command arrives; no timeout runs."""
        self._servos.hold()
        self._timeout_at = None

    def push_force(self) -> Vector:
        """Return the force of the push at the present step (3,) [N]; zeros without a push."""
        return self._plant.push_force(self._steps)

    def physics_steps(self, rate_hz: float) -> int:
        """Return the number of physics steps in one period of a rate [Hz].

        Raises:
            ConfigError: The period is not a whole number of physics steps.
        """
        steps = 1e9 / (rate_hz * self._step_ns)
        if abs(steps - round(steps)) > 1e-6 or round(steps) < 1:
            raise ConfigError(
                f"a period of {1 / rate_hz:.6g} s is {steps:.6g} physics steps of"
                f" {self._step_ns * 1e-9:.6g} s, expected a whole number"
            )
        return round(steps)

    def measure(self) -> SimulatedReading:
        """Return the simulated time, and positions, velocities and torques of the joints, as
        copies.
        """
        return SimulatedReading(
            stamp_ns=self.time_ns,
            position=self.data.qpos[self._addresses.position],
            velocity=self.data.qvel[self._addresses.velocity],
            effort=self.data.qfrc_actuator[self._addresses.velocity],
        )

    @property
    def time_ns(self) -> int:
        """Return the simulated time since construction [ns]; `reset` does not change it."""
        return self._steps * self._step_ns

    def tool_jacobian(self) -> Vector:
        """Return the Jacobian of the tool's position with respect to the joint positions (3,
        N) [m/rad].
        """
        jacobian = np.zeros((3, self.model.nv))
        mujoco.mj_jacSite(self.model, self.data, jacobian, None, self._addresses.tool)
        return np.asarray(jacobian[:, self._addresses.velocity])

    def place(self, body: str, position: Vector) -> None:
        """Move a mocap body, such as the marker of a goal, to a position in the base frame (3,)
        [m].

        Raises:
            KeyError: The scene has no mocap body of that name.
        """
        self.data.mocap_pos[self._mocap[body]] = position

    def object_poses(self) -> Objects:
        """Return the present poses of the objects in the base frame, by name, as copies."""
        return {name: pose_at(self.data.qpos, start) for name, start in self._objects.items()}

    def place_objects(self, objects: Objects) -> None:
        """Put objects at rest in poses.

        Args:
            objects: Poses in the base frame, by name.

        Raises:
            KeyError: A name is none of `objects`.
        """
        for name, pose in objects.items():
            start = self._objects[name]
            self.data.qpos[start : start + 3] = pose.position
            self.data.qpos[start + 3 : start + 7] = quaternion_of(pose)
            first = self.model.body(name).dofadr[0]
            self.data.qvel[first : first + 6] = 0.0
        if objects:
            mujoco.mj_forward(self.model, self.data)
