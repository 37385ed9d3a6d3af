"""Read and check joint states, and pass them to the control loop.

Step 1 of the path of a transition (CONTRIBUTING.md).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from sensor_msgs.msg import JointState

from sql_ros.common.errors import MessageError
from sql_ros.nodes.arm_link import AT_REST_RAD_S
from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.guard import Guard
from sql_ros.nodes.managed import ManagedNode
from sql_ros.nodes.object_intake import ObjectIntake
from sql_ros.nodes.state_publishers import StatePublishers
from sql_ros.nodes.state_reader import ForeignStateError, StateReader, arrival_clock
from sql_ros.robot.arm import Arm, RobotState
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.control.clock import ControlClock
from sql_ros.robot.safety.fixed_posture import FixedPosture
from sql_ros.robot.turns import continuous_turns

TOPIC = "joint_states"


class StateIntake:
    """Reads the states of one arm and passes each well-formed one to the control loop.

    Args:
        node: The actor node, whose `reading` calls `on_message`.
        robot: The arm.
        clock: Control clock; gives the stamp of a state that has none.
        guard: Learns of malformed states, and of the stamps.
        diagnostics: Counts messages that are dropped.
        objects: Poses of objects, which become a part of each state.
        is_lockstep: Whether the run is in lockstep. Then every state has a stamp and velocities.

    Attributes:
        publishers: Watch of the publishers of the topic.
        posture: Compares joints that are not controlled with the robot file.
        newest: Newest state that may be acted on; None before the first.
        arrived: Steady time at which the last well-formed state arrived [s].
        measured: Steady time at which `newest` arrived [s].
        rests_since: Steady time at which the first state at rest arrived, since when no state has
            shown motion [s]; infinite while `newest` shows motion, and before the first state.
        heard: Steady time of the last message with joints of the arm, also a malformed one [s].
        is_braking: Whether states are read although the node is not active, because they tell
            whether the arm rests.
        on_state: Called with each well-formed state and the steady time of its arrival [s].
    """

    def __init__(
        self,
        node: ManagedNode,
        robot: RobotConfig,
        clock: ControlClock,
        guard: Guard,
        diagnostics: Diagnostics,
        objects: ObjectIntake,
        *,
        mode: str,
        is_lockstep: bool,
    ) -> None:
        self._node = node
        self._joints = ", ".join(robot.wire_joints)
        self._guard = guard
        self._diagnostics = diagnostics
        self._objects = objects
        objects.on_pose = self._release
        self._is_lockstep = is_lockstep
        self._arm = Arm(robot)
        if is_lockstep:
            self._reader = StateReader(robot.wire_joints)
        else:
            self._reader = StateReader(
                robot.wire_joints,
                velocity_from_position=robot.velocity_from_position,
                arrival_ns=arrival_clock(lambda: clock.at(time.monotonic())),
                turns=continuous_turns(robot, self._arm.is_hinge) if mode != "position" else None,
            )
        self._topic = node.resolve_topic_name(TOPIC)
        self.publishers = StatePublishers(node, self._topic, robot.wire_joints)
        self.posture = FixedPosture(robot)
        self.newest: RobotState | None = None
        self.arrived = 0.0
        self.measured = 0.0
        self.rests_since = math.inf
        self.heard = 0.0
        self.is_braking = False
        # in lockstep: state that waits for the poses of its time, and when it arrived [s]
        self._kept: tuple[RobotState, float] | None = None
        self.on_state: Callable[[RobotState, float], None] = _ignore

    def forget(self) -> None:
        """Begin a new activation, in which no state has arrived."""
        self.newest = None
        self.arrived = 0.0
        self.measured = 0.0
        self.rests_since = math.inf
        self.posture.forget()
        self._reader.forget()
        self.heard = time.monotonic()
        self._kept = None

    def take(self, newest: RobotState | None, arrived: float) -> None:
        """Take what the control loop made of a well-formed state, and update the attributes.

        `measured` is updated last. Another thread that reads it first so reads the other attributes
        of this state, or of a later one.

        Args:
            newest: Newest state that may be acted on; the same object as before if the state that
                arrived may not be.
            arrived: Steady time at which the state arrived [s].
        """
        self.arrived = arrived
        if newest is None or newest is self.newest:
            return
        if np.abs(newest.velocity).max() >= AT_REST_RAD_S:
            self.rests_since = math.inf
        elif self.rests_since == math.inf:
            self.rests_since = arrived
        self.newest = newest
        self.measured = arrived

    def on_message(self, message: JointState) -> None:
        """Convert a message, inform guard and publisher watch, and call `on_state`.

        A message with other joints only, and a malformed one, is counted and dropped; a malformed
        one is also a reason to hold. While the node is not active, messages are ignored unless
        `is_braking`.

        Args:
            message: The message.
        """
        if self._node.ended.is_set() and not self.is_braking:
            return
        arrived = time.monotonic()
        self.posture.take(message.name, message.position, arrived)
        try:
            state = self._arm.state(*self._reader.read(message), self._objects.poses)
        except ForeignStateError:
            self._diagnostics.faults["state_foreign"] += 1
            self.publishers.heard_other(message.name)
            return
        except MessageError as error:
            self._diagnostics.faults["state_dropped"] += 1
            self.heard = arrived
            self.publishers.heard(self._node.reading.number, arrived)
            self._guard.watch.reject(str(error))
            return
        self.publishers.heard(self._node.reading.number, arrived)
        is_unstamped = self._reader.is_unstamped
        if is_unstamped and not self._is_lockstep:
            self.publishers.heard_unstamped()
        self._guard.check_stamp(0 if is_unstamped else state.stamp_ns, arrived)
        self.heard = arrived
        if self._is_lockstep and self._must_wait(state):
            self._kept = (state, arrived)
            return
        self._kept = None
        self.on_state(state, arrived)

    def _must_wait(self, state: RobotState) -> bool:
        """Return whether a state in lockstep waits for the poses of its time.

        The simulation sends a state again that gets no answer, which then waits no longer.
        """
        is_repeated = self._kept is not None and self._kept[0].stamp_ns == state.stamp_ns
        return self._objects.lacks(state.stamp_ns) and not is_repeated

    def _release(self) -> None:
        """Pass on the state that waits for poses, once they are there."""
        if self._kept is None or self._objects.lacks(self._kept[0].stamp_ns):
            return
        state, arrived = self._kept
        self._kept = None
        self.on_state(replace(state, objects=self._objects.poses), arrived)

    def waiting(self) -> str:
        """Return text for /diagnostics that no state has arrived so far; empty after the first."""
        if self.newest is not None:
            return ""
        return f"waiting for joint_states: nothing of {self._joints} on {self._topic} yet"

    def silence(self, now: float) -> str:
        """Return the text of a warning that no state has arrived since `heard`.

        Args:
            now: Steady time [s].
        """
        return (
            f"nothing of {self._joints} on {self._topic} for {now - self.heard:.0f} s"
            f"{self.publishers.others()}: is its publisher running, are these its joints?"
        )


def _ignore(state: RobotState, arrived: float) -> None:
    """Drop a state that arrives before there is a control loop."""
