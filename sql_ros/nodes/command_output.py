"""Hop 2 of the walk, its end: a command leaves for the arm.

The control loop and the standby thread publish on the same topic. `Standby` says which of them has
the arm.
"""

from __future__ import annotations

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
    """Publish commands, and remember when the last ones left.

    Args:
        task: Gives robot, command mode and control rate.
        publisher: Of the commands.
        adapter: Converts commands to messages.
        link: The way to the arm; is told of every command.
        safety: Filter that the commands have passed.
        clock: Of control.
        period_s: Of control, on its clock [s].
        standby: Brakes the arm while the loop is silent; None where nothing does.

    Attributes:
        publisher: As given.
        standby: As given.
        count: Commands of the loop so far.
        left: Steady time at which the last command of this activation left [s]; 0: none has.
        moved: Steady time at which the last command left that asked for motion [s].
        admits_only_holds: Other commands do not leave any more: the node is being deactivated.
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
        self._left_at = 0.0  # control time at which the last command left [s]
        self.moved = 0.0
        self._step_began = 0.0  # steady time [s]
        self._sent_step_began = 0.0  # the same of the step whose command was the last to leave
        self.admits_only_holds = False

    def forget(self) -> None:
        """Begin a new activation: nothing was sent."""
        self.left = 0.0
        self.admits_only_holds = False
        if self.standby is not None:
            self.standby.forget()

    def begin_step(self, now: float) -> None:
        """Begin a step at a steady time [s].

        The filter starts from where the controller of a position command has led the arm by now.
        """
        self._step_began = now
        if not self._follows_controller:
            return
        elapsed_s = now - self._sent_step_began
        if self._has_brake:
            self._safety.follow_brake(elapsed_s)
        else:
            self._safety.follow_rest(elapsed_s)

    def elapsed_s(self, at: float) -> float:
        """Return how long the last command has acted at a control time [s], in the time of the
        arm [s]; 0 before the first command.
        """
        if not self.left:
            return 0.0
        periods = (at - self._left_at) / self._period_s
        return periods / self._rate_hz

    def take_back(self, now: float) -> None:
        """Take the arm back from the standby thread at a steady time [s], if that brakes it."""
        taken = self.standby.take_back(now) if self.standby is not None else None
        if taken is not None:
            self._safety.was_braked(taken.velocity)
            self.left = taken.left
            self._left_at = self._clock.at(taken.left)

    def send(self, command: Vector, state: RobotState, *, brakes: bool = False) -> None:
        """Publish a command, unless it must not leave any more.

        Args:
            command: (N,) in the unit of the mode.
            state: That it answers.
            brakes: The command is a hold. Another one does not leave when it is too late.
        """
        if self._link.is_silent or (self.admits_only_holds and not brakes):
            return
        standby = self.standby
        if standby is not None and not standby.may_send(time.monotonic(), brakes=brakes):
            return  # the standby thread brakes the arm until the next step
        self.count += 1
        brake = self._safety.brake if self._has_brake else None
        self.publisher.publish(self._command_encoder.encode(command, state.stamp_ns, brake))
        self.left = time.monotonic()
        self._left_at = self._clock.at(self.left)
        self._sent_step_began = self._step_began
        if standby is not None:
            # a torque command that brakes to rest is zero
            standby.sent(command if self._is_torque else self._safety.brake.velocity, self.left)
        if not self._safety.is_at_rest:
            self.moved = self.left
        self._link.sent(command, state, self.left)
