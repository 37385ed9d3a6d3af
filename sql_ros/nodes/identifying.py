"""Run the identification of a real arm in the actor: when, with which messages, and its record.

The identification moves each joint a little and checks the order, sign and scale of the joints
(`robot/driver/identify.py`). It is due while no record says that this arm was identified through
this controller (`robot/measured.py`). The arm is then held with `start_needed`, and the reason of
the hold says what will move. `~/start` begins the identification. After a failure the arm is held
again, and the next start repeats the identification. After a success the arm is held too, so that
an operator can read the result: the task begins with another start.
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


class ArmIdentification:
    """The identification of the arm of one configured actor.

    Args:
        node: The actor node, for its log.
        task: The task; gives robot, command mode and control rate.
        arm: Identity of the arm, which names its measurement record.
        permit: Permit of motion, which is withdrawn before and after the identification.
        when: "first": if no record says that the arm was identified; "always"; "never".
        declares_latency: Whether the robot file states a latency. The measured one is then not
            used.

    Attributes:
        is_due: Whether the arm must be identified before it acts. False after a success.
        latency_s: Latency of commands that this process measured [s]; None before a success.
        state_delay_s: Median delay of states from their stamp to their arrival that this process
            measured [s]; 0 before a success.
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
        """Return whether a record says that the arm was identified through this controller.

        Raises:
            ConfigError: The record cannot be used.
        """
        record = load_measurement(self._arm)
        return record is not None and record.identified_controller == self._controller

    def _begin(self) -> None:
        """Begin a new identification, with the first joint."""
        robot = self._task.robot
        rate = self._task.config.control_rate_hz
        self._identification = Identification(robot, self._mode, 1.0 / rate)
        self._delays_s: list[float] = []  # delays of the states

    def forget(self) -> None:
        """Begin a new activation: start from the first joint, and ask the operator again."""
        self._was_asked = False
        self._begin()

    def request_start(self, state: RobotState) -> None:
        """Require a start of the identification: withdraw the permit, with a reason that says what
        will move. Done once per activation, and not while another reason requires a start.

        Args:
            state: Present state of the arm. The reason names its tool position, which the operator
                can compare with the real arm.
        """
        if self._was_asked or self._permit.obstacle:
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
        """Interrupt the identification, because the arm is held."""
        self._identification.interrupt()

    @property
    def activity(self) -> str:
        """Return what the identification does now, in words for /diagnostics."""
        return self._identification.activity

    def step(self, state: RobotState, safety: SafetyFilter, state_delay_s: float) -> Vector:
        """Make a control step of the identification. Call it only if nothing holds the arm.

        At the end the permit is withdrawn, so that the arm is held from the next step on. After a
        failure the identification begins anew. After a success `is_due` becomes false, and another
        thread writes the record.

        Args:
            state: Newest state of the arm.
            safety: Safety filter, which computes the command.
            state_delay_s: Delay of this state from its stamp to its arrival [s].

        Returns:
            Command (N,) in the unit of the command mode.
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
        """Set the latency of a safety filter to the measured one, and log it. Nothing is done if
        the robot file states a latency or none was measured.

        Args:
            safety: Safety filter. The arm must be at rest.
        """
        if self._declares_latency or self.latency_s is None:
            return
        safety.reckon_with_latency(self.latency_s)
        self._log.info(
            f"latency of robot '{self._task.robot.name}': {self.latency_s:g} s from now on"
            " (measured)"
        )

    def _describe_result(self, identification: Identification) -> str:
        """Return the measured scales, latency and state delay in words."""
        lowest = min(scale for scale, _ in identification.scales)
        highest = max(scale for _, scale in identification.scales)
        return (
            f"all {len(identification.scales)} joints moved as told, scales {lowest:.2f} to"
            f" {highest:.2f}, latency {identification.latency_s:.3f} s, states"
            f" {self.state_delay_s:.3f} s late"
        )

    def _store(self, identification: Identification) -> None:
        """Write the record and log the result; log an error if the record cannot be written.

        Body of a thread of its own, because a disk may block.

        Args:
            identification: Identification that has ended with success.
        """
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
