"""Bring the arm to rest at the end of an activation, and tell whether it rests after a stop."""

from __future__ import annotations

import math
import time

import numpy as np
from rclpy.duration import Duration

from sql_ros.nodes.arm_link import AT_REST_RAD_S, ArmLink
from sql_ros.nodes.command_output import CommandOutput
from sql_ros.nodes.guard import Guard
from sql_ros.nodes.managed import ManagedNode
from sql_ros.nodes.state_intake import StateIntake
from sql_ros.robot.arm import RobotState
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.driver.identify import LONGEST_DELAY_S
from sql_ros.robot.safety.stop_latch import FROM_OUTSIDE

BRAKING_S = 2.0  # longest time that an arm is braked, or told to rest, at the end of an activation


class Braking:
    """Brakes the arm at the end of an activation, and tells whether it rests after a stop.

    Args:
        node: The actor node; outside an activation nothing is said about the arm.
        actor: Computes the commands of holds.
        states: Intake of states, with the newest one.
        output: Sends the commands.
        link: Link to the arm.
        guard: Tells whether the newest state can be trusted.
        period_s: Control period on the steady clock [s].
        is_lockstep: Whether the simulation waits for each command.
    """

    def __init__(
        self,
        node: ManagedNode,
        actor: Actor,
        states: StateIntake,
        output: CommandOutput,
        link: ArmLink,
        guard: Guard,
        period_s: float,
        *,
        is_lockstep: bool,
    ) -> None:
        self._node = node
        self._actor = actor
        self._states = states
        self._output = output
        self._link = link
        self._guard = guard
        self._period_s = period_s
        self._is_lockstep = is_lockstep
        self._is_torque = actor.task.spec.command_mode == "torque"

    # --- the end of an activation ---

    def brake(self, state: RobotState) -> None:
        """Send holds until the arm rests; block meanwhile.

        In torque mode the arm is braked from measured states while these can be trusted; then zero
        torques leave it to its gravity compensation. Afterwards, in every mode, rest is commanded
        until the arm is measured at rest, up to `BRAKING_S` after the call. In lockstep the
        commands that brake are sent without waiting or measuring.

        Args:
            state: Newest state.
        """
        self._link.end_silence()
        until = time.monotonic() + BRAKING_S
        self._states.is_braking = not self._is_lockstep
        if self._is_torque and not self._is_lockstep and self._link.may_brake:
            state = self._brake_by_torques(state, until)
        self._send_hold(state)
        while not self._actor.safety.is_at_rest:
            self._send_hold(state)
        if not self._is_lockstep:
            self._repeat_rest(state, until)
        self._states.is_braking = False

    def _brake_by_torques(self, state: RobotState, until: float) -> RobotState:
        """Send a hold per period, computed from the newest state, until the arm is measured at
        rest or its states cannot be trusted.

        Args:
            state: Newest state.
            until: Steady time at which to give up [s].

        Returns:
            The newest state at the end.
        """
        while self._moves_and_is_sound(state) and time.monotonic() < until:
            self._output.send(self._actor.interrupt(state), state, brakes=True)
            time.sleep(self._period_s)
            state = self._states.newest or state
        return state

    def _moves_and_is_sound(self, state: RobotState) -> bool:
        """Return whether the arm moves according to a state, and states can be trusted now."""
        is_moving = bool(np.abs(state.velocity).max() > AT_REST_RAD_S)
        return is_moving and self._guard.is_sound(time.monotonic())

    def _send_hold(self, state: RobotState) -> None:
        """Wait until one period after the last command, then send the next hold.

        Without the wait, two commands would change the speed twice within one period. In lockstep
        there is no wait.

        Args:
            state: State that the hold answers; it is not used as a fresh measurement.
        """
        if not self._is_lockstep:
            time.sleep(max(self._output.left + self._period_s - time.monotonic(), 0.0))
            self._output.begin_step(time.monotonic())
        self._output.send(self._actor.interrupt(state, fresh=False), state, brakes=True)

    def _repeat_rest(self, state: RobotState, until: float) -> None:
        """Command rest again and again until the arm is measured at rest.

        Where states cannot be trusted, stop as soon as the controller has acknowledged the
        commands.

        Args:
            state: State that the commands answer.
            until: Steady time at which to give up [s].
        """
        rested = self._output.left
        while time.monotonic() < until and not self._rests_since(rested):
            is_measured = self._guard.is_sound(time.monotonic())
            if not is_measured and self._output.publisher.wait_for_all_acked(Duration()):
                return
            self._send_hold(state)

    def _rests_since(self, since: float) -> bool:
        """Return whether a state that arrived after the steady time `since` [s] shows the arm at
        rest.
        """
        state, arrived = self._states.newest, self._states.arrived
        if state is None or arrived <= since or not self._guard.is_sound(time.monotonic()):
            return False
        return bool(np.abs(state.velocity).max() < AT_REST_RAD_S)

    # --- after a stop ---

    def obstacle_to_rest(self, since: float) -> tuple[str, bool]:
        """Return why the arm cannot be said to rest after a stop.

        Final obstacles are: the node is not active, or has commanded nothing. The others are: the
        control loop hangs, the arm is still being braked, no state can be trusted, no newer state
        has come, the arm was measured in motion, or not at rest for longer than its latency.

        Args:
            since: Steady time of the stop [s].

        Returns:
            The obstacle in words, empty if the arm was commanded to rest and after that measured at
            rest until no earlier command can be under way; and whether the answer is final, so that
            asking again is useless.
        """
        if self._node.ended.is_set():
            why = f"this node is {self._node.phase}: it commands nothing and measures nothing"
            return why, True
        measured = self._states.measured
        state = self._states.newest
        if state is None or not self._output.left:
            return "this node has commanded nothing yet", True
        if not FROM_OUTSIDE.intersection(self._guard.holds.present):
            standby = self._output.standby
            stands_in = standby is not None and standby.stands_in
            braked = ": the standby thread brakes the arm" if stands_in else ""
            return f"the control loop hangs{braked}", False
        # in torque mode a command does not tell whether the arm rests
        commanded = self._output.holds_since if self._is_torque else self._output.rests_since
        is_braked = self._is_torque or self._actor.safety.is_at_rest
        if not is_braked or commanded == math.inf:
            return "the arm is still being braked", False
        if not self._guard.is_sound(time.monotonic()):
            return "no joint state can be trusted", False
        speed = float(np.abs(state.velocity).max())
        if measured <= max(since, commanded):
            return f"no newer joint state has come: {speed:.3f} rad/s at the last", False
        if speed >= AT_REST_RAD_S:
            return f"the arm was measured at {speed:.3f} rad/s", False
        rest_s = self._rest_s()
        if measured <= max(since, commanded, self._states.rests_since) + rest_s:
            return f"the arm was not measured at rest for {rest_s:.3f} s, its latency", False
        return "", True

    def _rest_s(self) -> float:
        """Return for how long an arm must be measured at rest until no command is under way [s].

        It is a control period and the latency, of a real arm at least the longest one that an
        identification accepts: the latency of an arm that is not identified yet is not known.
        """
        latency_s = self._actor.safety.latency_s
        return self._period_s + max(latency_s, LONGEST_DELAY_S if self._link.is_real else 0.0)
