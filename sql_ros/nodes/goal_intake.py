"""Goals of a playing actor over ROS: `~/goal` in, `~/goal_status` out.

===============  ===========  ==================================================================
`~/goal`         PoseStamped  where the task's tool is to go; the orientation is ignored
`~/goal_status`  String       latched: "accepted ...", "reached ...", "preempted ..." or
                              "refused: <reason>"
===============  ===========  ==================================================================
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

    def stop(self) -> None:
        """Give up a goal whose transform is looked for."""
        self._frames.stop()

    def _on_goal(self, message: PoseStamped) -> None:
        frame = message.header.frame_id
        try:
            self._check_ready()
            position = self._read(message)
            if frame in ("", self._frame):
                self._take(position)
            else:
                self._frames.transform(message, position, self._take_transformed, self._refuse)
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

    def _check_ready(self) -> None:
        if not isinstance(self._actor, GoalActor):
            raise MessageError("goals are taken in mode:=play only")
        if obstacle := self._obstacle():
            raise MessageError(obstacle)

    def _take(self, position: Vector) -> None:
        self._check_ready()
        actor = self._actor
        assert isinstance(actor, GoalActor)
        goal = check_goal(position, actor.task, self._frame)
        with self._lock:
            actor.give(goal, f" in {self._frame} for {self._tool}; the orientation is ignored")
            self._publish_news(actor)

    def _take_transformed(self, position: Vector) -> None:
        try:
            self._take(position)
        except MessageError as error:
            self._refuse(str(error))

    def _refuse(self, reason: str) -> None:
        self._diagnostics.fault("goal_refused", reason)
        self._status.publish(String(data=f"refused: {reason}"))

    def _publish_news(self, actor: GoalActor) -> None:
        while actor.news:
            text = actor.news.popleft()
            self._node.get_logger().info(f"goal {text}")
            self._status.publish(String(data=text))
