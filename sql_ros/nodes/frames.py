"""Goals in other frames, by tf2_ros where it is installed; it is not on PyPI."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.time import Time

from sql_ros.core.errors import MessageError
from sql_ros.robot.arm import Vector

try:
    import tf2_ros
except ImportError:
    tf2_ros = None

PATIENCE_S = 2.0  # for a transform
LOOK_S = 0.05


def rotated(vector: Vector, quaternion: Vector) -> Vector:
    """Return a vector (3,) turned by a unit quaternion (4,), x y z w."""
    axis, w = quaternion[:3], quaternion[3]
    twice = 2.0 * np.cross(axis, vector)
    return np.asarray(vector + w * twice + np.cross(axis, twice))


class Frames:
    """Transform one position at a time into the base frame; listens to /tf only meanwhile.

    Args:
        node: Subscribes, and looks for the transform in its executor.
        base: Name of the base frame.
    """

    def __init__(self, node: Node, base: str) -> None:
        self._node, self._base = node, base
        self._end: Callable[[], None] = lambda: None

    def transform(
        self, message: PoseStamped, position: Vector, use: Callable[[Vector], None],
        fail: Callable[[str], None],
    ) -> None:  # fmt: skip
        """Call `use` with the position (3,) in the base frame, or `fail` with the reason.

        The newest transform counts, whatever the stamp of the message.

        Raises:
            MessageError: tf2_ros is not installed.
        """
        frame = message.header.frame_id
        if tf2_ros is None:
            raise MessageError(f"goal in frame '{frame}', expected '{self._base}': other frames need tf2_ros, which is not installed")
        self.stop()
        buffer = tf2_ros.Buffer()
        listener = tf2_ros.TransformListener(buffer, self._node)
        given_up = time.monotonic() + PATIENCE_S

        def look() -> None:
            try:
                found = buffer.lookup_transform(self._base, frame, Time())
            except tf2_ros.TransformException as error:
                if time.monotonic() > given_up:
                    self.stop()
                    fail(f"no transform from '{frame}' to '{self._base}': {error}")
                return
            self.stop()
            t, q = found.transform.translation, found.transform.rotation
            turned = rotated(position, np.array([q.x, q.y, q.z, q.w]))
            use(turned + np.array([t.x, t.y, t.z]))

        steady = Clock(clock_type=ClockType.STEADY_TIME)
        timer = self._node.create_timer(LOOK_S, look, clock=steady)

        def end() -> None:
            self._node.destroy_timer(timer)
            listener.unregister()

        self._end = end

    def stop(self) -> None:
        """Give up the transform that is looked for."""
        end, self._end = self._end, lambda: None
        end()
