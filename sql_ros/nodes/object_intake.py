"""Read and watch the poses of the objects that a task observes, and ask for objects to be placed.

=========================  ===========  ======================================================
`objects/<name>`           PoseStamped  pose of an object in the base frame; subscribed
`reset_request/<name>`     PoseStamped  latched: where the object is to be placed before the next
                                        episode; published, for a simulation, a script or a person
=========================  ===========  ======================================================

It adds reasons to hold the arm, by kind:

========================  ======================================================================
`object_missing`          no pose of an object has arrived in this activation
`object_old`              the last new pose is older than the task's `objects.max_age_s`. A message
                          with the stamp of the one before is not new; on a real arm neither is one
                          whose stamp differs from this computer's clock by more than that
`object_malformed`        the last message is in another frame or not finite
`object_two_publishers`   two publishers send poses of one object
========================  ======================================================================

In lockstep, ages do not count. A state waits there for the poses of its time instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from geometry_msgs.msg import PoseStamped

from sql_ros.common.errors import MessageError
from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.guard import Guard
from sql_ros.nodes.managed import ManagedNode
from sql_ros.nodes.messages.objects import object_from_msg, object_to_msg
from sql_ros.nodes.qos import LATCHED, RELIABLE, SENSOR
from sql_ros.robot.driver.writers import WriterWatch
from sql_ros.robot.objects import NO_OBJECTS, UNKNOWN, Objects
from sql_ros.robot.safety.state_watchdog import NO_REASONS
from sql_ros.robot.task import Task


@dataclass
class _Source:
    """The messages of one object.

    Attributes:
        topic: Resolved topic.
        taken: Control time at which the last new pose arrived [s]; None before the first.
        stamp_ns: Stamp of the last message [ns].
        malformed: Why the last message was dropped; empty if it was not.
        writers: Detects a second publisher.
    """

    topic: str
    taken: float | None = None
    stamp_ns: int = -1
    malformed: str = ""
    writers: WriterWatch = field(default_factory=WriterWatch)


class ObjectIntake:
    """Reads the poses of a task's objects. A task without objects has no topics and no reasons.

    Args:
        node: The actor node, whose `reading` calls back.
        task: The task.
        guard: Gives the control clock, and whether the arm is real.
        diagnostics: Counts messages that are dropped, and requests that were not fulfilled.
        is_lockstep: Whether the run is in lockstep.

    Attributes:
        poses: Last known pose of each object, by name; `UNKNOWN` before the first.
        on_pose: Called after each well-formed pose.
    """

    def __init__(
        self,
        node: ManagedNode,
        task: Task,
        guard: Guard,
        diagnostics: Diagnostics,
        *,
        is_lockstep: bool,
    ) -> None:
        self._node = node
        self._guard = guard
        self._diagnostics = diagnostics
        self._is_lockstep = is_lockstep
        self._frame = task.robot.wire_base_frame
        config = task.config.objects
        self._max_age_s = config.max_age_s if config else 0.0
        names = task.config.object_names
        self._sources = {
            name: _Source(node.resolve_topic_name(f"objects/{name}")) for name in names
        }
        self._requests = {
            name: node.create_publisher(PoseStamped, f"reset_request/{name}", LATCHED)
            for name in names
        }
        self.on_pose: Callable[[], None] = _ignore
        self.forget()

    def subscribe(self) -> None:
        """Subscribe to the poses, in the reading thread. Call it before the states are subscribed,
        so that poses are read first where both are ready.
        """
        qos = RELIABLE if self._is_lockstep else SENSOR
        for name in self._sources:
            self._node.reading.subscribe(
                PoseStamped, f"objects/{name}", partial(self._on_pose, name), qos
            )

    def forget(self) -> None:
        """Begin a new activation, in which no pose has arrived."""
        for source in self._sources.values():
            source.taken = None
            source.stamp_ns = -1
            source.malformed = ""
        self.poses: Objects = dict.fromkeys(self._sources, UNKNOWN) or NO_OBJECTS

    def lacks(self, stamp_ns: int) -> bool:
        """Return whether the last pose of an object is older than a state.

        Args:
            stamp_ns: Stamp of the state [ns].
        """
        return any(source.stamp_ns < stamp_ns for source in self._sources.values())

    def reasons(self, now: float) -> Mapping[str, str]:
        """Return why the arm must be held, see `Guard.conditions`.

        Args:
            now: Steady time [s].
        """
        for name, source in self._sources.items():
            if source.malformed:
                return {"object_malformed": f"{source.topic} has {source.malformed}"}
            if source.taken is None:
                return {"object_missing": f"no pose of {name} on {source.topic} yet"}
            if source.writers.is_contested(now):
                return {"object_two_publishers": f"two publishers send poses on {source.topic}"}
            age_s = 0.0 if self._is_lockstep else self._guard.clock.at(now) - source.taken
            if age_s > self._max_age_s:
                return {
                    "object_old": f"the last new pose on {source.topic} came {age_s:.2f} s ago, at"
                    f" most {self._max_age_s:g} s"
                }
        return NO_REASONS

    def request(self, objects: Objects, repeats: bool) -> None:
        """Publish and log where objects are to be placed.

        Args:
            objects: Poses in the base frame, by name.
            repeats: Whether the same request was not fulfilled in time, which is counted as a
                fault.
        """
        for name, pose in objects.items():
            stamp_ns = self._node.get_clock().now().nanoseconds
            self._requests[name].publish(object_to_msg(pose, stamp_ns, self._frame))
            x, y, z = pose.position.tolist()
            text = f"place {name} at ({x:.3f}, {y:.3f}, {z:.3f}) m in {self._frame}"
            if repeats:
                self._diagnostics.fault("object_not_placed", f"{text}: not there yet")
            else:
                self._node.get_logger().debug(text)

    def _on_pose(self, name: str, message: PoseStamped) -> None:
        """Take a pose, or count and drop a malformed one.

        Args:
            name: Name of the object.
            message: The message.
        """
        if self._node.ended.is_set():
            return
        source = self._sources[name]
        now = time.monotonic()
        source.writers.heard(self._node.reading.number, now)
        try:
            pose = object_from_msg(message, self._frame)
        except MessageError as error:
            self._diagnostics.faults["object_dropped"] += 1
            source.malformed = str(error)
            return
        source.malformed = ""
        stamp = message.header.stamp
        stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
        if not self._is_lockstep and stamp_ns and not self._is_new(source, stamp_ns):
            self._diagnostics.faults["object_late"] += 1
            return
        source.stamp_ns = stamp_ns
        source.taken = self._guard.clock.at(now)
        # the control step of another thread never sees a dict that changes
        self.poses = {**self.poses, name: pose}
        self.on_pose()

    def _is_new(self, source: _Source, stamp_ns: int) -> bool:
        """Return whether a message has a new measurement, by its stamp [ns], which is not 0."""
        if stamp_ns == source.stamp_ns:
            return False
        if not self._guard.permit.is_real:
            return True
        away_s = 1e-9 * (self._node.get_clock().now().nanoseconds - stamp_ns)
        return bool(abs(away_s) <= self._max_age_s)


def _ignore() -> None:
    """Do nothing after a pose."""
