"""Steps an MJCF scene as if it were an arm: three command modes, limits, a command timeout."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import mujoco
import numpy as np

from sql_ros.core.errors import ConfigError
from sql_ros.core.spec import COMMAND_MODES
from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.disturbance import LARGEST, Disturbance
from sql_ros.robot.model import load_model
from sql_ros.robot.task import Variation

PUSH_CHUNK_S = 0.005  # the force of a push is brought up to date this often


@dataclass(frozen=True)
class Measurement:
    """What the simulated encoders and torque sensors read: time [ns], (N,) [rad], [rad/s], [N m]."""

    stamp_ns: int
    position: Vector
    velocity: Vector
    effort: Vector


class Simulation:
    """An arm in a scene.

    Torques are added to gravity compensation, which is the arm's own (MJCF gravcomp). Velocity and position commands go to servos of
    the robot config's stiffness and damping, saturated at the effort limits. A command that is not renewed within
    `command_timeout_s` ends in a position hold, as on the real arm.

    Args:
        scene: MJCF, relative to the share folder.
        robot: the arm; its joints and one actuator of the same name per joint must be in the scene, and its tool.
        goal: there is to be a mocap body `goal` in the scene, for a task to `place` at its target.

    Raises:
        ConfigError: the scene cannot be read or lacks a joint, an actuator, the tool or the goal.
    """

    def __init__(self, scene: str, robot: RobotConfig, *, goal: bool = False) -> None:
        self.robot = robot
        self.model = load_model(scene)
        try:
            self._position_address = np.array([self.model.joint(name).qposadr[0] for name in robot.joints])
            self.velocity_address = np.array([self.model.joint(name).dofadr[0] for name in robot.joints])
            self._actuators = np.array([self.model.actuator(name).id for name in robot.joints])
            self._hand: int = self.model.site(robot.tool).bodyid[0]
        except KeyError as error:
            raise ConfigError(
                f"scene {scene}: {error.args[0]}; expected the joints of '{robot.name}', an actuator of each one's name, and its tool: "
                f"a site '{robot.tool}'"
            ) from None
        self._mocap = {self.model.body(body).name: number for body, number in enumerate(self.model.body_mocapid) if number >= 0}
        if goal and "goal" not in self._mocap:
            raise ConfigError(
                f"scene {scene} has no mocap body 'goal', which shows the target, expected one: <body name='goal' mocap='true'/>"
            )
        self._nominal = self.model.geom_friction.copy(), self.model.dof_damping.copy(), self.model.dof_armature.copy()
        self._nominal_mass = self.model.body_mass.copy()
        self._torque_share = 1.0
        self._drawn = self._nominal[0].copy(), self._nominal[1].copy(), 0  # friction, damping and delay without a disturbance
        self._delay = 0  # commands by which the present one is late
        self._lost_share, self._losing = 0.0, np.random.default_rng(0)
        self._push: tuple[Disturbance, int] | None = None  # and the physics step at which it began
        self._late: deque[tuple[str, Vector, float]] = deque()
        self.data = mujoco.MjData(self.model)
        self._step_ns: int = round(self.model.opt.timestep * 1e9)
        self._steps = 0
        self._limits = {
            "position": (np.array(robot.position_lower), np.array(robot.position_upper)),
            "velocity": (-np.array(robot.velocity_limit), np.array(robot.velocity_limit)),
            "torque": (-np.array(robot.effort_limit), np.array(robot.effort_limit)),
        }
        # largest change of a servo's setpoint in one physics step
        step_s = self.model.opt.timestep
        self._fastest = step_s * np.array(robot.velocity_limit)
        self._slew = {"position": self._fastest, "velocity": step_s * np.array(robot.acceleration_limit)}
        self._chunk = max(round(PUSH_CHUNK_S / step_s), 1)
        self._timeout_steps = max(round(robot.command_timeout_s * 1e9 / self._step_ns), 1)
        self._expires = 0  # physics step at which the present command times out
        self._damping = np.array(robot.servo_damping)
        self._target = self._setpoint = np.zeros(len(robot.joints))  # of the servos, now and at last
        self.mode = ""
        self.reset(np.array(robot.neutral_position))

    def reset(self, position: Vector) -> None:
        """Puts the arm at rest at joint positions [rad] (N,), objects where the scene has them. Time goes on: it never runs backwards."""
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[self._position_address] = position
        self._hold()
        mujoco.mj_forward(self.model, self.data)

    def command(self, mode: str, values: Vector, over_s: float = 0.0) -> None:
        """Takes a command (N,): "position" [rad], "velocity" [rad/s] or "torque" [N m]; clips it to the robot's limits.

        Args:
            mode: what the values are.
            values: (N,).
            over_s: a position is gone to in this time, as a trajectory's point says; 0: as fast as the joints may [s].

        Raises:
            ValueError: unknown mode, wrong length, or a value that is not finite; the command before stays in force.
        """
        if mode not in COMMAND_MODES:
            raise ValueError(f"command mode {mode!r}, expected one of {', '.join(COMMAND_MODES)}")
        if len(values) != len(self._actuators) or not np.isfinite(values).all():
            raise ValueError(f"command {values}, expected {len(self._actuators)} finite values")
        self._expires = self._steps + self._timeout_steps
        self._late.append((mode, np.clip(values, *self._limits[mode]), over_s))
        if len(self._late) <= self._delay:
            return
        mode, values, over_s = self._late.popleft()
        self._apply(mode, values * self._torque_share if mode == "torque" else values)
        if mode == "position":
            steps = max(over_s / self.model.opt.timestep, 1.0)
            evenly = np.abs(self._target - self._setpoint) / steps
            self._slew["position"] = np.minimum(evenly, self._fastest) if over_s else self._fastest

    def vary(self, variation: Variation, rng: np.random.Generator) -> None:
        """Draws an arm that differs from its model, and how late commands come; before that differs by nothing but what is drawn now."""
        for values, nominal, share in zip(
            (self.model.geom_friction, self.model.dof_damping, self.model.dof_armature),
            self._nominal,
            (variation.friction, variation.damping, variation.armature),
        ):
            values[:] = nominal * (1.0 + share * rng.uniform(-1.0, 1.0))
        self._torque_share = 1.0 + variation.torque * float(rng.uniform(-1.0, 1.0))
        self._drawn = self.model.geom_friction.copy(), self.model.dof_damping.copy(), int(rng.integers(variation.delay_steps + 1))
        self._late.clear()
        self._undisturb()

    def _undisturb(self) -> None:
        """The arm as it was drawn."""
        self.model.geom_friction[:], self.model.dof_damping[:], self._delay = self._drawn
        while len(self._late) > self._delay:
            self._late.popleft()
        self.model.body_mass[:] = self._nominal_mass
        self.data.xfrc_applied[:] = 0.0
        self._lost_share, self._push = 0.0, None

    def disturb(self, disturbance: Disturbance) -> None:
        """Does something to the arm; what lasts, lasts until the next `vary`.

        Raises:
            ValueError: the scene has no body of that name, or a size is out of all reason.
        """
        kind, size = disturbance.kind, disturbance.size
        if not 0.0 <= size <= LARGEST:
            raise ValueError(f"a {kind} of {size}, expected a size from 0 to {LARGEST:g}")
        if kind == "lost_states" and size >= 1.0:  # lockstep would wait for ever for one that arrives
            raise ValueError(f"lost_states of {size}, expected a share of less than 1")
        if kind == "push":
            self._body(disturbance.body)
            self._push = disturbance, self._steps
        elif kind == "payload":  # its weight comes with it: the arm's own gravity compensation does not know of it
            self.model.body_mass[self._hand] = self._nominal_mass[self._hand] + size
            self._refresh_forces()
        elif kind == "friction":
            self.model.geom_friction[:] = self._drawn[0] * size
        elif kind == "damping":
            self.model.dof_damping[:] = self._drawn[1] * size
        elif kind == "delay":
            self._delay = round(size)
        elif kind == "lost_states":
            self._lost_share, self._losing = size, np.random.default_rng(self._steps)
        elif kind == "moved_target":
            self.place("goal", np.array(disturbance.vector))
        elif kind == "over":
            self._undisturb()
        elif kind == "reset":
            self._undisturb()
            self.reset(np.array(self.robot.neutral_position))

    def loses_state(self) -> bool:
        """Whether the state of this moment is lost on its way, as `disturb` says; the same draws for the same time."""
        return bool(self._lost_share) and bool(self._losing.random() < self._lost_share)

    def advance(self, physics_steps: int) -> None:
        """Runs the physics; where the command times out in between, the rest of the time is a position hold."""
        while physics_steps:
            count = min(physics_steps, self._chunk) if self._push else physics_steps
            if self._push:
                self._refresh_forces()
            self._advance(count)
            physics_steps -= count

    def _advance(self, physics_steps: int) -> None:
        before_timeout = min(max(self._expires - self._steps, 0), physics_steps) if self._expires >= 0 else physics_steps
        self._step(before_timeout)
        if before_timeout < physics_steps:
            self._hold()
            self._step(physics_steps - before_timeout)
        self._steps += physics_steps

    def push_force(self) -> Vector:
        """Of the push under way (3,) [N]; zero if there is none."""
        if self._push is None:
            return np.zeros(3)
        push, began = self._push
        left = push.duration_s + push.ramp_s - (self._steps - began) * self.model.opt.timestep
        strength = min(left / push.ramp_s, 1.0) if push.ramp_s else float(left > 0.0)
        return max(strength, 0.0) * np.array(push.vector)

    def _refresh_forces(self) -> None:
        """Sets the forces from outside: a push at its present strength, and the weight of a payload."""
        forces = self.data.xfrc_applied
        forces[:] = 0.0
        payload = self.model.body_mass[self._hand] - self._nominal_mass[self._hand]
        forces[self._hand, :3] += payload * self.model.opt.gravity
        if self._push is not None:
            force = self.push_force()
            forces[self._body(self._push[0].body), :3] += force
            self._push = self._push if force.any() else None

    def _body(self, name: str) -> int:
        try:
            return int(self.model.body(name).id)
        except KeyError:
            raise ValueError(f"the scene has no body '{name}'") from None

    def physics_steps(self, rate_hz: float) -> int:
        """Physics steps in one period of a rate.

        Raises:
            ConfigError: the period is not a whole number of physics steps.
        """
        steps = 1e9 / (rate_hz * self._step_ns)
        if abs(steps - round(steps)) > 1e-6 or round(steps) < 1:
            raise ConfigError(
                f"a period of {1 / rate_hz:.6g} s is {steps:.6g} physics steps of {self._step_ns * 1e-9:.6g} s, expected a whole number"
            )
        return round(steps)

    def measure(self) -> Measurement:
        """Reads the joints."""
        return Measurement(
            stamp_ns=self.time_ns,
            position=self.data.qpos[self._position_address],
            velocity=self.data.qvel[self.velocity_address],
            effort=self.data.qfrc_actuator[self.velocity_address],
        )

    @property
    def time_ns(self) -> int:
        """Simulated time since construction [ns], monotonic across resets."""
        return self._steps * self._step_ns

    def tool_jacobian(self) -> Vector:
        """Of the position of the tool, (3, N) [m/rad]."""
        jacobian = np.zeros((3, self.model.nv))
        mujoco.mj_jacSite(self.model, self.data, jacobian, None, self.model.site(self.robot.tool).id)
        return np.asarray(jacobian[:, self.velocity_address])

    def place(self, body: str, position: Vector) -> None:
        """Moves a mocap body, such as the marker of a goal, to a position [m] (3,)."""
        self.data.mocap_pos[self._mocap[body]] = position

    def _step(self, count: int) -> None:
        """Physics; what a servo follows moves to the command no faster than the joints may, as in an arm's own controller.

        A velocity servo also gives the torque that this acceleration takes, or the joints would pull each other along.
        """
        setpoint = self._setpoint
        while count and self.mode in self._slew and (setpoint != self._target).any():
            farthest = self._slew[self.mode]
            moved = np.clip(self._target, setpoint - farthest, setpoint + farthest)
            self.data.ctrl[self._actuators] = moved
            if self.mode == "velocity":
                self.data.ctrl[self._actuators] += self._inertia_torque((moved - setpoint) / self.model.opt.timestep) / self._damping
            mujoco.mj_step(self.model, self.data)
            setpoint = moved
            count -= 1
        self._setpoint = setpoint
        if count:
            self.data.ctrl[self._actuators] = self._target
            mujoco.mj_step(self.model, self.data, count)

    def _inertia_torque(self, acceleration: Vector) -> Vector:
        """M a of the arm's joints (N,) [N m]."""
        whole, torque = np.zeros((2, self.model.nv))
        whole[self.velocity_address] = acceleration
        mujoco.mj_mulM(self.model, self.data, torque, whole)
        return np.asarray(torque[self.velocity_address])

    def _hold(self) -> None:
        """A position hold where the arm is, until the next command."""
        self._apply("position", np.clip(self.data.qpos[self._position_address], *self._limits["position"]))
        self._setpoint = self._target
        self._expires = -1

    def _apply(self, mode: str, values: Vector) -> None:
        if mode != self.mode:
            stiffness = np.array(self.robot.servo_stiffness)
            gain = {"torque": np.ones_like(stiffness), "velocity": self._damping, "position": stiffness}[mode]
            self.model.actuator_gainprm[self._actuators, 0] = gain
            self.model.actuator_biasprm[self._actuators, 1] = -stiffness if mode == "position" else 0.0
            self.model.actuator_biasprm[self._actuators, 2] = 0.0 if mode == "torque" else -self._damping
            self.mode, self._setpoint = mode, self._here(mode)
        self._target = values

    def _here(self, mode: str) -> Vector:
        """Where what a servo follows begins: at what the joints do now."""
        if mode == "velocity":
            return np.asarray(self.data.qvel[self.velocity_address])
        return np.asarray(np.clip(self.data.qpos[self._position_address], *self._limits["position"]))
