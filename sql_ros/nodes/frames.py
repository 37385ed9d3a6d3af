"""Transform goals from other frames to the base frame. Needs tf2_ros, which is not on PyPI."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.time import Time

from sql_ros.common.errors import MessageError
from sql_ros.nodes.steady_timer import steady_timer
from sql_ros.robot.arm import Vector

try:
    import tf2_ros
except ImportError:
    tf2_ros = None

TIMEOUT_S = 2.0  # longest wait for a transform
POLL_S = 0.05


def rotated(vector: Vector, quaternion: Vector) -> Vector:
    """Return a vector (3,) rotated by a unit quaternion (4,) in the order x, y, z, w."""
    axis = quaternion[:3]
    w = quaternion[3]
    twice = 2.0 * np.cross(axis, vector)
    return np.asarray(vector + w * twice + np.cross(axis, twice))


class Frames:
    """Transforms one position at a time to the base frame.

    The node is subscribed to /tf only while a position waits for its transform.

    Args:
        node: Node of the subscription, whose executor looks for the transform.
        base: Name of the base frame.
    """

    def __init__(self, node: Node, base: str) -> None:
        self._node = node
        self._base = base
        self._end: Callable[[], None] = lambda: None

    def transform(
        self,
        message: PoseStamped,
        position: Vector,
        use: Callable[[Vector], None],
        fail: Callable[[str], None],
    ) -> None:
        """Begin to transform a position; return at once.

        Later the executor calls `use` or `fail`. The newest transform is used, whatever the stamp
        of the message. An earlier call that is still waiting for its transform is given up, without
        a call of its functions.

        Args:
            message: Names the frame of the position.
            position: Position (3,) in that frame [m].
            use: Called with the position (3,) in the base frame [m].
            fail: Called with the reason if no transform is found within `TIMEOUT_S`.

        Raises:
            MessageError: tf2_ros is not installed.
        """
        frame = message.header.frame_id
        if tf2_ros is None:
            raise MessageError(
                f"goal in frame '{frame}', expected '{self._base}': other frames need tf2_ros,"
                " which is not installed"
            )
        self.stop()
        buffer = tf2_ros.Buffer()
        listener = tf2_ros.TransformListener(buffer, self._node)
        given_up = time.monotonic() + TIMEOUT_S

        def look_up() -> None:
            """Look up the transform: call `use` if it is there, `fail` after `TIMEOUT_S`."""
            try:
                found = buffer.lookup_transform(self._base, frame, Time())
            except tf2_ros.TransformException as error:
                if time.monotonic() > given_up:
                    self.stop()
                    fail(f"no transform from '{frame}' to '{self._base}': {error}")
                return
            self.stop()
            t = found.transform.translation
            q = found.transform.rotation
            turned = rotated(position, np.array([q.x, q.y, q.z, q.w]))
            use(turned + np.array([t.x, t.y, t.z]))

        timer = steady_timer(self._node, POLL_S, look_up)

        def end() -> None:
            """Destroy the timer and the subscriptions."""
            self._node.destroy_timer(timer)
            listener.unregister()

        self._end = end

    def stop(self) -> None:
        """Give up the position that waits for its transform, if there is one."""
        end = self._end
        self._end = lambda: None
        end()
