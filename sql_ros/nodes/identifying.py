"""The identification of a real arm in the actor: when it is due, the messages to the operator, the
record.

It is due while no record says that this arm was identified through this controller
(`robot/measured.py`). The arm is held with `start_needed`, and the message says what will move.
`~/start` begins the identification. After a failure the arm is held again, and the next start
repeats it. After a success the arm is held, too: the task begins with another start, so that an
operator can read the result first.
"""

from __future__ import annotations

import datetime
import threading

import numpy as np
from rclpy.lifecycle import LifecycleNode

from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.driver.identify import AMPLITUDE_RAD, SPEED_RAD_S, Identification
from sql_ros.robot.measured import MeasuredArm, Measurement, load_measurement, store_measurement
from sql_ros.robot.safety.filter import SafetyFilter
from sql_ros.robot.safety.permit import Permit
from sql_ros.robot.task import Task

CHOICES = ("first", "always", "never")
METHOD = "identification: one joint after the other"


class Identifying:
    """The identification in one configuration of the actor.

    Args:
        node: The actor.
        task: Its task.
        arm: Identity of the arm for its measurement record.
        permit: Permit of its motion.
        when: "first": without a record; "always"; "never".
        declares_latency: Whether the robot file has a latency, which precedes the measured one.

    Attributes:
        is_due: Whether the arm must be identified before it acts.
        latency_s: Latency of commands measured in this session [s]; None before.
        state_delay_s: Delay of states from their stamps to their arrival, measured in this session
            [s].
    """

    def __init__(
        self,
        node: LifecycleNode,
        task: Task,
        arm: MeasuredArm,
        permit: Permit,
        when: str,
        *,
        declares_latency: bool,
    ) -> None:
        self._log = node.get_logger()
        self._task = task
        self._permit = permit
        self._mode = task.spec.command_mode
        self._controller = task.robot.controller(self._mode).name
        self._arm = arm
        self._declares_latency = declares_latency
        self.latency_s: float | None = None
        self.state_delay_s = 0.0
        self.is_due = when == "always" or (when == "first" and not self._is_known())
        if when == "never":
            self._log.warning(
                "identify is never: nobody has checked sign, order and scale of the joints before"
                " the arm moves"
            )
        self._was_asked = False
        self._begin()

    def _is_known(self) -> bool:
        """Return whether a record says that the arm was identified through this controller."""
        record = load_measurement(self._arm)
        return record is not None and record.identified_controller == self._controller

    def _begin(self) -> None:
        """Begin a new identification."""
        robot = self._task.robot
        rate = self._task.config.control_rate_hz
        self._identification = Identification(robot, self._mode, 1.0 / rate)
        self._delays_s: list[float] = []  # delays of the states

    def forget(self) -> None:
        """Begin a new activation: the operator is asked again."""
        self._was_asked = False
        self._begin()

    def request_start(self, state: RobotState) -> None:
        """Hold the arm until the operator starts the identification, and say what will move.

        Args:
            state: Present state of the arm, whose tool position the operator compares.
        """
        if (
            self._was_asked or self._permit.obstacle
        ):  # the operator has another reason to start first
            return
        self._was_asked = True
        robot = self._task.robot
        x, y, z = state.tool_position
        self._permit.withdraw(
            f"the arm was not identified yet: every joint will move by {AMPLITUDE_RAD:g} rad at"
            f" {SPEED_RAD_S:g} rad/s there and back; {robot.wire_tool_frame} must now be at"
            f" ({x:.3f}, {y:.3f}, {z:.3f}) m in {robot.wire_base_frame}, otherwise it is"
            " another arm"
        )

    def interrupt(self) -> None:
        """Tell the identification that the arm is held."""
        self._identification.interrupt()

    @property
    def activity(self) -> str:
        """Return what the identification does now, for /diagnostics."""
        return self._identification.activity

    def step(self, state: RobotState, safety: SafetyFilter, state_delay_s: float) -> Vector:
        """Return the command (N,) of a control step in which the arm may move.

        At the end of the identification the arm is held, and a record is written after a success.

        Args:
            state: State of the arm.
            safety: Safety filter.
            state_delay_s: Delay of this state [s].
        """
        identification = self._identification
        self._delays_s.append(state_delay_s)
        command = safety.steer(identification.step(state), state)
        identification.sent(command, safety.asked)
        if identification.failure:
            self._log.error(f"the arm is not identified: {identification.failure}")
            self._permit.withdraw(f"the arm is not identified: {identification.failure}")
            self._begin()
        elif identification.is_over:
            self.is_due = False
            self.latency_s = identification.latency_s
            self.state_delay_s = float(np.median(self._delays_s))
            result = self._describe_result(identification)
            self._permit.withdraw(
                f"the arm is identified ({result}): the task begins with the next start"
            )
            threading.Thread(
                target=self._store, args=(identification,), name="identified", daemon=True
            ).start()
        return command

    def apply_latency(self, safety: SafetyFilter) -> None:
        """Let a filter reckon with the measured latency from now on, unless the robot file has one.

        Args:
            safety: Of an arm at rest.
        """
        if self._declares_latency or self.latency_s is None:
            return
        safety.reckon_with_latency(self.latency_s)
        self._log.info(
            f"latency of robot '{self._task.robot.name}': {self.latency_s:g} s from now on"
            " (measured)"
        )

    def _describe_result(self, identification: Identification) -> str:
        """Return the measured values in words."""
        lowest = min(scale for scale, _ in identification.scales)
        highest = max(scale for _, scale in identification.scales)
        return (
            f"all {len(identification.scales)} joints moved as told, scales {lowest:.2f} to"
            f" {highest:.2f}, latency {identification.latency_s:.3f} s, states"
            f" {self.state_delay_s:.3f} s late"
        )

    def _store(self, identification: Identification) -> None:
        """Write the record; it runs in a thread of its own, because a disk may block."""
        result = self._describe_result(identification)
        try:
            record = Measurement(
                self._arm.sha256,
                self._mode,
                identification.latency_s,
                datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                METHOD,
                self._controller,
                self.state_delay_s,
            )
            path = store_measurement(self._arm, record)
        except (ConfigError, OSError) as error:
            self._log.error(f"the arm is identified ({result}), but that cannot be kept: {error}")
            return
        self._log.info(f"the arm is identified: {result}; {path}")
