"""Check goals for an actor in mode play, and publish what becomes of them.

===============  ===========  ==================================================================
`~/goal`         PoseStamped  wanted position of the task's tool; the orientation is ignored
`~/goal_status`  String       latched: "accepted ...", "reached ...", "preempted ..." or
                              "refused: <reason>"
===============  ===========  ==================================================================

A goal without frame_id is taken to be in the base frame, and the status says so. A new goal
replaces the goal in force, and a goal that waits for its transform. A stop and a deactivation end
both. A real arm does not follow a goal that arrives too long after its publication, whatever the
stamp of the goal (`robot/safety/request_age.py`).
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from std_msgs.msg import String

from sql_ros.common.errors import MessageError
from sql_ros.nodes.control_loop import STEP_S
from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.frames import Frames
from sql_ros.nodes.qos import NEWS, RELIABLE
from sql_ros.robot.arm import Vector
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.control.goals import GoalFollower, check_age, check_goal, shown

# kinds of holds that cancel the goal, so that the arm does not go on to it after the reset
GOAL_ENDING_HOLDS = ("stop", "emergency_stop")


class GoalIntake:
    """Subscribes to `~/goal`, gives accepted goals to the actor and publishes `~/goal_status`.

    Args:
        node: Node of the topics.
        actor: The actor. Unless its rules are a `GoalFollower`, every goal is refused.
        lock: Held during a control step.
        diagnostics: Counts refused goals.
        obstacle: Returns why no goal can be accepted now, in words; empty if one can.
        staleness: Returns why a message must not move the arm because of its age, in words; empty
            if it may. Its argument is the time of publication by the clock of the publisher [ns].
    """

    def __init__(
        self,
        node: Node,
        actor: Actor,
        lock: threading.Lock,
        diagnostics: Diagnostics,
        obstacle: Callable[[], str],
        staleness: Callable[[int], str],
    ) -> None:
        self._node = node
        self._task = actor.task
        self._follower = actor.rules if isinstance(actor.rules, GoalFollower) else None
        self._lock = lock
        self._diagnostics = diagnostics
        self._obstacle = obstacle
        self._staleness = staleness
        self._frame = actor.task.robot.wire_base_frame
        self._tool = actor.task.robot.wire_tool_frame
        self._frames = Frames(node, self._frame)
        self._stops = 0  # number of latched stops at the last step
        self._status = node.create_publisher(String, "~/goal_status", NEWS)
        node.create_subscription(PoseStamped, "~/goal", self._on_goal, RELIABLE)

    def stepped(self, holds: Mapping[str, str], stops: int) -> None:
        """Cancel the goal if a kind of `GOAL_ENDING_HOLDS` holds the arm, or if a stop was latched
        since the last step, even if it was reset since; log and publish the news about goals.
        Nothing is done in mode train.

        Args:
            holds: Reasons to hold in the step, hold kind to description.
            stops: Number of latched stops so far.
        """
        follower = self._follower
        if follower is None:
            return
        for kind in GOAL_ENDING_HOLDS:
            if kind in holds:
                follower.cancel(f"{kind}: {holds[kind]}")
        if stops != self._stops:
            self._stops = stops
            follower.cancel("the arm was stopped")
        self._publish_news(follower)

    def activity(self) -> str:
        """Return text for /diagnostics: the actor waits for a goal, is on the way to one, or is at
        one. Empty if the actor has no goal and does not wait for one.
        """
        follower = self._follower
        if follower is None:
            return ""
        goal = follower.goal
        if goal is None:
            return "waiting for a goal on ~/goal" if follower.waits else ""
        return f"{'at' if follower.is_reached else 'acting, on the way to'} goal {shown(goal)}"

    def deactivate(self) -> None:
        """Cancel the goal in force and one that waits for its transform; log and publish that."""
        self._frames.stop()
        if self._follower is None:
            return
        is_free = self._lock.acquire(timeout=STEP_S)  # a step that hangs must not keep the goal
        self._follower.cancel("the actor was deactivated")
        self._publish_news(self._follower)
        if is_free:
            self._lock.release()

    def _on_goal(self, message: PoseStamped, info: Mapping[str, Any]) -> None:
        """Give a goal in the base frame to the actor; look for the transform of one in another
        frame.

        A goal that is late, malformed or cannot be accepted now is refused: it is counted as a
        fault, and the reason is published.

        Args:
            message: Wanted position of the tool; an empty frame stands for the base frame.
            info: Information of the middleware, with the time of publication.
        """
        frame = message.header.frame_id
        try:
            if stale := self._staleness(info.get("source_timestamp") or 0):
                raise MessageError(stale)
            follower = self._check_ready()
            position = self._read(message)
            if frame in ("", self._frame):
                self._take(position, "" if frame else ", as the message names no frame,")
                return
            self._frames.transform(message, position, self._take_transformed, self._fail)
            with self._between_steps():
                follower.expect(f"{shown(position)} in {frame}")
                self._publish_news(follower)
        except MessageError as error:
            self._refuse(str(error))

    def _read(self, message: PoseStamped) -> Vector:
        """Return the position of a goal (3,), in the frame of the message [m].

        Raises:
            MessageError: The stamp is not 0 and too far from the present time, or a value is not
                finite.
        """
        stamp = message.header.stamp
        if stamp.sec or stamp.nanosec:
            now_ns = self._node.get_clock().now().nanoseconds
            check_age(1e-9 * (now_ns - (stamp.sec * 10**9 + stamp.nanosec)))
        p = message.pose.position
        q = message.pose.orientation
        if not all(map(math.isfinite, (p.x, p.y, p.z, q.x, q.y, q.z, q.w))):
            raise MessageError(f"goal has a value that is not finite: {p} {q}")
        return np.array([p.x, p.y, p.z])

    def _check_ready(self) -> GoalFollower:
        """Return the rules that follow goals, if goals can be accepted now.

        Raises:
            MessageError: The actor is not in mode play, or there is an obstacle.
        """
        if self._follower is None:
            raise MessageError("goals are taken in mode:=play only")
        if obstacle := self._obstacle():
            raise MessageError(obstacle)
        return self._follower

    def _take(self, position: Vector, note: str = "") -> None:
        """Give a goal to the actor, log and publish that, and stop looking for another goal's
        transform.

        Args:
            position: Wanted position of the tool (3,) in the base frame [m].
            note: Remark on the frame, for the status.

        Raises:
            MessageError: The goal is outside of the task's box of targets, or cannot be accepted
                now. An earlier goal that waits for its transform is then kept.
        """
        goal = check_goal(position, self._task, self._frame)
        with self._between_steps():  # excludes a deactivation, which ends goals
            follower = self._check_ready()
            reference = f"in {self._frame}{note} for {self._tool}"
            follower.give(goal, f" {reference}; the orientation is ignored")
            self._publish_news(follower)
        self._frames.stop()

    def _take_transformed(self, position: Vector) -> None:
        """Give a transformed goal to the actor, unless it was cancelled or replaced meanwhile.

        A goal that cannot be accepted is refused.

        Args:
            position: Wanted position of the tool (3,) in the base frame [m].
        """
        try:
            if self._takes_pending():
                self._take(position)
        except MessageError as error:
            self._refuse(str(error))

    def _fail(self, reason: str) -> None:
        """Refuse a goal whose transform was not found, unless it was cancelled or replaced."""
        with contextlib.suppress(MessageError):
            if self._takes_pending():
                self._refuse(reason)

    def _takes_pending(self) -> bool:
        """Clear the pending goal; return whether there was one.

        Raises:
            MessageError: The control loop hangs.
        """
        with self._between_steps():
            return self._follower is not None and self._follower.take_pending()

    @contextlib.contextmanager
    def _between_steps(self) -> Iterator[None]:
        """Exclude control steps in the context.

        Raises:
            MessageError: A step takes longer than `STEP_S`.
        """
        if not self._lock.acquire(timeout=STEP_S):
            raise MessageError(f"the control loop hangs: a step takes longer than {STEP_S:g} s")
        try:
            yield
        finally:
            self._lock.release()

    def _refuse(self, reason: str) -> None:
        """Count a refused goal as a fault, and publish the reason."""
        self._diagnostics.fault("goal_refused", reason)
        self._status.publish(String(data=f"refused: {reason}"))

    def _publish_news(self, follower: GoalFollower) -> None:
        """Log and publish the texts of `follower.news`, and remove them."""
        while follower.news:
            text = follower.news.popleft()
            self._node.get_logger().info(f"goal {text}")
            self._status.publish(String(data=text))
