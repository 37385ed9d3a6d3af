"""Safety figures of a run, computed from the commands and the motion of the arm; pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig

# a longer step of the double is caused by the machine: the motion after it is not judged
LATE_S = 0.025
RECOVERY_S = 0.5  # time after it without judgement: delayed commands arrive all at once
ASKS_RAD_S = 1e-3  # a command asks for motion if it asks for more speed than this
HISTORY = 2000  # states, enough for one control period at any rate


@dataclass
class MotionRecord:
    """Figures of a run: counts, and largest values since its start. Shares are of the arm's own
    limits.

    Attributes:
        commands: Commands that arrived at the controller.
        refused_commands: Of these, those that the controller refused.
        moving_commands: Of these, those that ask for motion.
        first_step: Change of speed that the first command of a motion asks for, relative to the
            measured speed. It is given as a share of the change that the acceleration limit allows
            in one period.
        step: Change of speed from a command to the next, as a share of the change that the
            acceleration limit allows in the time between them, at least one period. It is taken
            relative to the measured speed if that is nearer than the speed of the command before,
            since an arm need not be where it was commanded.
        commanded_speed: Joint speed in commands of position or velocity, as a share of its limit.
        commanded_tool_speed_m_s: Tool speed by the same commands [m/s].
        speed: Measured joint speed, as a share of its limit.
        acceleration: Measured joint acceleration over one control period, as a share of its limit.
        beyond_limits_rad: Farthest distance of a joint beyond its position limits [rad].
        tool_speed_m_s: Measured tool speed over one control period [m/s].
        path_rad: Path of the joint that travelled farthest [rad].
        stops: Zero commands of the stack's watchdog, whose steps are not judged.
        late_steps: Steps of the double that were later than `LATE_S`; the motion is not judged for
            `RECOVERY_S` after each.
    """

    commands: int = 0
    refused_commands: int = 0
    moving_commands: int = 0
    first_step: float = 0.0
    step: float = 0.0
    commanded_speed: float = 0.0
    commanded_tool_speed_m_s: float = 0.0
    speed: float = 0.0
    acceleration: float = 0.0
    beyond_limits_rad: float = 0.0
    tool_speed_m_s: float = 0.0
    path_rad: float = 0.0
    stops: int = 0
    late_steps: int = 0

    def figures(self) -> dict[str, float]:
        """Return the record as numbers by name."""
        return {name: float(value) for name, value in asdict(self).items()}


class MotionRecorder:
    """Fills a `MotionRecord` from commands, refusals and states, given to its `take_...` methods.

    To judge means to raise the largest values in the record. Nothing is refused here; `verdict.py`
    compares the record with limits.

    Args:
        robot: Gives the limits.
        interface: Command interface of the controller: "position", "velocity" or "effort". Commands
            of "effort" are counted and not judged.
        period_s: Control period of the task [s].
        tool_position: Maps joint positions (N,) [rad] to the tool's position (3,) [m].

    Attributes:
        record: The figures, changed in place.
        largest_step: Where the largest step was, in words; empty: no step yet.
        refusal: The last reason for which the controller refused a command; empty: none.
        asks_for_motion: Whether the last command asked for motion.
        is_stopped: Whether the brakes are closed: commands move nothing, so that their steps are
            not judged. Set from outside.
        is_pushed: Whether the arm is moved by hand: neither commands nor motion are judged. Set
            from outside.
    """

    def __init__(
        self,
        robot: RobotConfig,
        interface: str,
        period_s: float,
        tool_position: Callable[[Vector], Vector],
    ) -> None:
        self.record = MotionRecord()
        self.refusal = self.largest_step = ""
        self.asks_for_motion = False
        self.is_stopped = False
        self.is_pushed = False
        self._interface = interface
        self._period = period_s
        self._tool = tool_position
        self._velocity_limit = np.array(robot.velocity_limit)
        self._acceleration_limit = np.array(robot.acceleration_limit)
        self._lower = np.array(robot.position_lower)
        self._upper = np.array(robot.position_upper)
        self._moved = np.zeros(len(robot.joints))
        self._states: deque[tuple[float, Vector, Vector, Vector]] = deque(maxlen=HISTORY)
        self._commanded: tuple[Vector, Vector] | None = None  # the last command, and its speed
        self._arrived = 0.0  # time of the last command [s]
        self._is_released = False  # the brakes have opened, and no command has come since
        self._judges_from = 0.0  # time from which the motion is judged [s]

    def take_refusal(self, reason: str) -> None:
        """Count a command that the controller refused.

        Args:
            reason: Reason of the controller, kept in `refusal`.
        """
        self.refusal = reason
        self.record.commands += 1
        self.record.refused_commands += 1

    def take_stop(self) -> None:
        """Count a zero command of the stack's watchdog; the next command is the first of
        a motion.
        """
        self.record.commands += 1
        self.record.stops += 1
        self.begin_anew()

    def take_command(
        self,
        now: float,
        command: Vector,
        position: Vector,
        velocity: Vector,
        left: Vector | None = None,
        speed: Vector | None = None,
    ) -> None:
        """Count a command and judge its speed and its step from the command before.

        Without a command before, the step is from the measured speed and counts as the first step.

        Args:
            now: Time of arrival [s].
            command: Command (N,) in the unit of the interface, in the robot's joint order.
            position: Position of the arm now (N,) [rad].
            velocity: Velocity of the arm now (N,) [rad/s].
            left: Speed (N,) [rad/s] that the command before has come to, if this is a trajectory
                that joins it; None: it joins none.
            speed: Speed (N,) [rad/s] that this trajectory asks for from there; None: the speed that
                leads from the command before to this one within a period.
        """
        self.record.commands += 1
        if self._interface == "effort":
            return
        before = self._commanded
        origin, last = (position, velocity) if before is None else before
        if before is None or left is None or speed is None:
            speed = self._asked_speed(command, origin)
        else:
            origin = command - self._period * speed
            last = left
        self._commanded = command, speed
        elapsed = max(now - self._arrived, self._period) if before is not None else self._period
        self._arrived = now
        self.asks_for_motion = bool(np.abs(speed).max() > ASKS_RAD_S)
        self.record.moving_commands += self.asks_for_motion
        if self.is_stopped or self.is_pushed:
            return
        self._judge_speed(speed, origin if self._interface == "position" else position)
        if self._is_released:  # the arm follows an earlier command, already judged
            self._is_released = False
            last = np.zeros_like(velocity)
        lowest = np.minimum(last, velocity)
        highest = np.maximum(last, velocity)
        last = np.minimum(np.maximum(speed, lowest), highest)
        change = self._change_share(speed, last) * self._period / elapsed
        if change > max(self.record.first_step, self.record.step):
            self.largest_step = (
                f"command {self.record.commands} asks for {_text(speed)} rad/s after {_text(last)},"
                f" measured {_text(velocity)}"
            )
        if before is None:
            self.record.first_step = max(self.record.first_step, change)
        else:
            self.record.step = max(self.record.step, change)

    def _judge_speed(self, speed: Vector, origin: Vector) -> None:
        """Raise the record's commanded joint speed and commanded tool speed to those of a command.

        Args:
            speed: Joint speeds that the command asks for (N,) [rad/s].
            origin: Position from which the motion begins (N,) [rad].
        """
        record = self.record
        share = float((np.abs(speed) / self._velocity_limit).max())
        way = self._tool(origin + speed * self._period) - self._tool(origin)
        tool = float(np.linalg.norm(way)) / self._period
        record.commanded_speed = max(record.commanded_speed, share)
        record.commanded_tool_speed_m_s = max(record.commanded_tool_speed_m_s, tool)

    def take_release(self, setpoint: Vector, position: Vector, velocity: Vector) -> None:
        """Judge the step from the measured speed to the controller's set-point when the brakes
        open, as the first step of a motion.

        The command after it is the first of a motion, too. Its step is from rest, or from the
        measured speed if that is nearer.

        Args:
            setpoint: Set-point (N,) in the unit of the interface.
            position: Position of the arm (N,) [rad].
            velocity: Velocity of the arm (N,) [rad/s].
        """
        self.begin_anew()
        self._is_released = True
        if self._interface != "effort":
            change = self._change_share(self._asked_speed(setpoint, position), velocity)
            self.record.first_step = max(self.record.first_step, change)

    def _asked_speed(self, command: Vector, origin: Vector) -> Vector:
        """Return the joint speeds (N,) [rad/s] that a command asks for during a period.

        Args:
            command: Command (N,) in the unit of the interface, "position" or "velocity".
            origin: Position from which the motion starts (N,) [rad].
        """
        if self._interface == "position":
            return np.asarray((command - origin) / self._period)
        return command

    def _change_share(self, speed: Vector, last: Vector) -> float:
        """Return the largest change of a joint's speed, as a share of what its limit allows in a
        period.

        Args:
            speed: New speed (N,) [rad/s].
            last: Earlier speed (N,) [rad/s].
        """
        return float((np.abs(speed - last) / (self._acceleration_limit * self._period)).max())

    def begin_anew(self) -> None:
        """Forget the last command: the next command is the first of a motion."""
        self._commanded = None

    def take_state(self, now: float, position: Vector, velocity: Vector) -> None:
        """Keep a state, add to the path, and judge the motion if it may be judged.

        Args:
            now: Time of the state [s].
            position: Positions (N,) [rad].
            velocity: Velocities (N,) [rad/s].
        """
        record = self.record
        outside = np.maximum(self._lower - position, position - self._upper)
        record.beyond_limits_rad = max(record.beyond_limits_rad, float(outside.max()))
        if self._states:
            self._moved += np.abs(position - self._states[-1][1])
            record.path_rad = float(self._moved.max())
            if now - self._states[-1][0] > LATE_S:
                record.late_steps += 1
                self._judges_from = now + RECOVERY_S
                self._states.clear()
        while len(self._states) > 1 and self._states[1][0] <= now - self._period:
            self._states.popleft()
        self._states.append((now, np.array(position), np.array(velocity), self._tool(position)))
        if self.is_pushed:
            self._judges_from = now + RECOVERY_S
        if now >= self._judges_from:
            self._judge_motion()

    def _judge_motion(self) -> None:
        """Raise the record's measured speed to the present one, and its acceleration and tool speed
        to those over the last control period.
        """
        record = self.record
        now, _, velocity, tool = self._states[-1]
        then, _, velocity_then, tool_then = self._states[0]
        record.speed = max(record.speed, float((np.abs(velocity) / self._velocity_limit).max()))
        elapsed = now - then
        if elapsed > 0.99 * self._period:
            change = np.abs(velocity - velocity_then) / (elapsed * self._acceleration_limit)
            moved = float(np.linalg.norm(tool - tool_then))
            record.acceleration = max(record.acceleration, float(change.max()))
            record.tool_speed_m_s = max(record.tool_speed_m_s, moved / elapsed)


def _text(values: Vector) -> str:
    return " ".join(f"{value:.3f}" for value in values)
