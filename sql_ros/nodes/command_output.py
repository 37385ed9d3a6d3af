"""Send the commands of the control loop to the arm (step 2 of the path of a transition).

The control loop and the standby thread (`standby_thread.py`) publish with the same publisher.
`Standby` decides which of them commands the arm.
"""

from __future__ import annotations

import math
import time

from rclpy.publisher import Publisher

from sql_ros.nodes.adapters import Adapter, CommandEncoder, brakes_behind
from sql_ros.nodes.arm_link import ArmLink
from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.control.clock import ControlClock
from sql_ros.robot.safety.filter import SafetyFilter
from sql_ros.robot.safety.standby import Standby
from sql_ros.robot.task import Task


class CommandOutput:
    """Publishes the commands of the control loop, and records when they were sent.

    Args:
        task: Task; gives robot, command mode and control rate.
        publisher: Publisher of the commands.
        adapter: Converts commands to messages.
        link: Link to the arm; `ArmLink.sent` is called with every command.
        safety: Safety filter that the commands have passed.
        clock: Control clock.
        period_s: Control period on the control clock [s].
        standby: Brakes the arm while the loop sends nothing in time; None: nothing does.

    Attributes:
        publisher: As given.
        standby: As given.
        count: Number of commands of the control loop that were sent.
        left: Steady time at which the last command of this activation was sent, also by the standby
            thread [s]; 0: none was.
        rests_since: Steady time of the first command since when every command asked for rest [s];
            infinite while the last one asks for motion.
        holds_since: The same for commands of holds, whatever they asked for [s].
        admits_only_holds: Whether only commands of holds are sent: the node is being deactivated.
    """

    def __init__(
        self,
        task: Task,
        publisher: Publisher,
        adapter: Adapter,
        link: ArmLink,
        safety: SafetyFilter,
        clock: ControlClock,
        period_s: float,
        standby: Standby | None,
    ) -> None:
        mode = task.spec.command_mode
        self.publisher = publisher
        self.standby = standby
        self._link = link
        self._safety = safety
        self._clock = clock
        self._period_s = period_s
        self._rate_hz = task.config.control_rate_hz
        self._command_encoder = CommandEncoder(adapter)
        self._has_brake = brakes_behind(task.robot, mode)
        self._is_torque = mode == "torque"
        self._follows_controller = mode == "position" and link.is_real and not clock.follows
        self.count = 0
        self.left = 0.0
        self._left_at = 0.0  # control time at which the last command was sent [s]
        self.rests_since = math.inf
        self.holds_since = math.inf
        self._step_began = 0.0  # steady time [s]
        self._sent_step_began = 0.0  # steady time of the step whose command was sent last [s]
        self.admits_only_holds = False

    def forget(self) -> None:
        """Begin a new activation, in which nothing was sent so far."""
        self.left = 0.0
        self.rests_since = math.inf
        self.holds_since = math.inf
        self.admits_only_holds = False
        if self.standby is not None:
            self.standby.forget()

    def begin_step(self, now: float) -> None:
        """Begin a control step, or the command of a step that has taken long.

        For a real arm in position mode on the steady clock, the safety filter is set to the
        position to which the controller has led the arm since the last command: along the braking
        motion of a trajectory, or at rest.

        Args:
            now: Steady time [s].
        """
        self._step_began = now
        if not self._follows_controller:
            return
        follow = self._safety.follow_brake if self._has_brake else self._safety.follow_rest
        follow(now - self._sent_step_began)

    def elapsed_s(self, at: float) -> float:
        """Return for how long the last command has acted, in the time of the arm [s].

        Args:
            at: Control time [s].

        Returns:
            0 before the first command of an activation.
        """
        if not self.left:
            return 0.0
        periods = (at - self._left_at) / self._period_s
        return periods / self._rate_hz

    def take_back(self, now: float) -> None:
        """Take the arm back from the standby thread, at the start of a control step.

        If the standby thread has braked the arm, its last command is recorded in the safety filter
        and in `left`, and `standby.reasons` makes this step a hold.

        Args:
            now: Steady time [s].
        """
        taken = self.standby.take_back(now) if self.standby is not None else None
        if taken is not None:
            self._safety.was_braked(taken.velocity)
            self.left = taken.left
            self._left_at = self._clock.at(taken.left)

    def send(self, command: Vector, state: RobotState, *, brakes: bool = False) -> None:
        """Publish a command of the control loop and record it, or drop it.

        The command is dropped while `ArmLink.is_silent`; for a real arm in position mode, if the
        step began more than a period ago; while the standby thread brakes the arm;
        and, unless it is a hold, if it is too late for the standby (which then brakes the arm until
        the next step) or `admits_only_holds` is set. The safety filter is told of a command that is
        dropped. A command that is sent updates the attributes and the standby, and is passed to
        `ArmLink.sent`.

        Args:
            command: Command (N,) in the unit of the command mode.
            state: State that the command answers; its stamp is put into the message.
            brakes: Whether the command is a hold.
        """
        brake = self._safety.brake if self._has_brake else None
        message = self._command_encoder.encode(command, state.stamp_ns, brake)
        if not self._may_send(brakes=brakes):  # the last thing before, so that it is still true
            self._safety.was_dropped()
            return
        standby = self.standby
        self.publisher.publish(message)
        self.count += 1
        self.left = time.monotonic()
        self._left_at = self._clock.at(self.left)
        self._sent_step_began = self._step_began
        if standby is not None:
            # a torque command that brakes to rest is zero
            standby.sent(command if self._is_torque else self._safety.brake.velocity, self.left)
        self.rests_since = self._since(self.rests_since, goes_on=self._safety.is_at_rest)
        self.holds_since = self._since(self.holds_since, goes_on=brakes)
        self._link.sent(command, state, self.left)

    def _may_send(self, *, brakes: bool) -> bool:
        """Return whether a command may be sent now, see `send`.

        Args:
            brakes: Whether the command is a hold.
        """
        if self._link.is_silent or (self.admits_only_holds and not brakes):
            return False
        now = time.monotonic()
        if self._follows_controller and now - self._step_began > self._period_s:
            return False  # the controller brakes meanwhile; the point would lie behind the arm
        return self.standby is None or self.standby.may_send(now, brakes=brakes)

    def _since(self, since: float, *, goes_on: bool) -> float:
        """Return since when all commands are of one kind, after the command that was sent last.

        Args:
            since: The same, before that command [s].
            goes_on: Whether that command is of this kind.

        Returns:
            Steady time [s]; infinite if it is not.
        """
        return min(since, self.left) if goes_on else math.inf
