"""Goals of a playing actor over ROS: `~/goal` in, `~/goal_status` out.

===============  ===========  ==================================================================
`~/goal`         PoseStamped  where the task's tool is to go; the orientation is ignored
`~/goal_status`  String       latched: "accepted ...", "reached ...", "preempted ..." or
                              "refused: <reason>"
===============  ===========  ==================================================================

A goal without frame_id is taken in the base frame, and the answer says so. The newest goal counts: one
that waits for its transform is given up for it, and at a stop and a deactivation.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from std_msgs.msg import String

from sql_ros.core.errors import MessageError
from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.frames import Frames
from sql_ros.nodes.qos import NEWS, RELIABLE
from sql_ros.robot.actor import Actor
from sql_ros.robot.arm import Vector
from sql_ros.robot.goals import GoalActor, check_age, check_goal, shown

ENDING = ("stop", "emergency_stop")  # holds that end a goal: after their reset nothing moves


class GoalIntake:
    """Check goals, give them to the actor and publish what becomes of them.

    Args:
        node: Subscribes and publishes.
        actor: A `GoalActor`; any other one takes no goals.
        lock: Held while a control step is made.
        diagnostics: Counts refused goals.
        obstacle: Says why no goal can be taken now; empty if one can.
    """

    def __init__(
        self,
        node: Node,
        actor: Actor,
        lock: threading.Lock,
        diagnostics: Diagnostics,
        obstacle: Callable[[], str],
    ) -> None:
        self._node, self._actor, self._lock = node, actor, lock
        self._diagnostics, self._obstacle = diagnostics, obstacle
        self._frame = actor.task.robot.wire_base_frame
        self._tool = actor.task.robot.wire_tool_frame
        self._frames = Frames(node, self._frame)
        self._status = node.create_publisher(String, "~/goal_status", NEWS)
        node.create_subscription(PoseStamped, "~/goal", self._on_goal, RELIABLE)

    def stepped(self, holds: Mapping[str, str]) -> None:
        """Publish news after a control step.

        Args:
            holds: Reasons to hold as of the last step; a stop ends the goal.
        """
        actor = self._actor
        if not isinstance(actor, GoalActor):
            return
        for kind in ENDING:
            if kind in holds:
                actor.cancel(f"{kind}: {holds[kind]}")
        self._publish_news(actor)

    def activity(self) -> str:
        """Return what the actor does about goals, for /diagnostics; empty if nothing."""
        actor = self._actor
        if not isinstance(actor, GoalActor):
            return ""
        goal = actor.goal
        if goal is None:
            return "waiting for a goal on ~/goal" if actor.waits else ""
        return f"{'at' if actor.is_reached else 'acting, on the way to'} goal {shown(goal)}"

    def deactivate(self) -> None:
        """Give up the goal, and one whose transform is looked for."""
        self._frames.stop()
        actor = self._actor
        if isinstance(actor, GoalActor):
            with self._lock:
                actor.cancel("the actor was deactivated")
                self._publish_news(actor)

    def _on_goal(self, message: PoseStamped) -> None:
        frame = message.header.frame_id
        try:
            actor = self._check_ready()
            position = self._read(message)
            if frame in ("", self._frame):
                self._take(position, "" if frame else ", as the message names no frame,")
                return
            self._frames.transform(message, position, self._take_transformed, self._fail)
            with self._lock:
                actor.expect(f"{shown(position)} in {frame}")
                self._publish_news(actor)
        except MessageError as error:
            self._refuse(str(error))

    def _read(self, message: PoseStamped) -> Vector:
        """Return the position (3,) in the frame of the message."""
        stamp = message.header.stamp
        if stamp.sec or stamp.nanosec:
            now_ns = self._node.get_clock().now().nanoseconds
            check_age(1e-9 * (now_ns - (stamp.sec * 10**9 + stamp.nanosec)))
        p, q = message.pose.position, message.pose.orientation
        if not all(map(math.isfinite, (p.x, p.y, p.z, q.x, q.y, q.z, q.w))):
            raise MessageError(f"goal has a value that is not finite: {p} {q}")
        return np.array([p.x, p.y, p.z])

    def _check_ready(self) -> GoalActor:
        """Return the actor, if it takes goals now.

        Raises:
            MessageError: It does not.
        """
        if not isinstance(self._actor, GoalActor):
            raise MessageError("goals are taken in mode:=play only")
        if obstacle := self._obstacle():
            raise MessageError(obstacle)
        return self._actor

    def _take(self, position: Vector, note: str = "") -> None:
        """Give a position (3,) in the base frame to the actor.

        Args:
            position: Wanted position of the tool.
            note: On the frame, for the answer.

        Raises:
            MessageError: It is refused. A goal that waits for its transform then goes on waiting.
        """
        goal = check_goal(position, self._actor.task, self._frame)
        with self._lock:  # a deactivation that ends goals comes before or after
            actor = self._check_ready()
            where = f"in {self._frame}{note} for {self._tool}"
            actor.give(goal, f" {where}; the orientation is ignored")
            self._publish_news(actor)
        self._frames.stop()

    def _take_transformed(self, position: Vector) -> None:
        """Take a goal whose transform has come, unless a stop or a newer goal came before."""
        if self._takes_pending():
            try:
                self._take(position)
            except MessageError as error:
                self._refuse(str(error))

    def _fail(self, reason: str) -> None:
        if self._takes_pending():
            self._refuse(reason)

    def _takes_pending(self) -> bool:
        actor = self._actor
        with self._lock:
            return isinstance(actor, GoalActor) and actor.take_pending()

    def _refuse(self, reason: str) -> None:
        self._diagnostics.fault("goal_refused", reason)
        self._status.publish(String(data=f"refused: {reason}"))

    def _publish_news(self, actor: GoalActor) -> None:
        while actor.news:
            text = actor.news.popleft()
            self._node.get_logger().info(f"goal {text}")
            self._status.publish(String(data=text))
