"""Messages of objects: their poses in the base frame."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import PoseStamped

from sql_ros.common.errors import MessageError
from sql_ros.nodes.messages.arm import stamp_to_msg
from sql_ros.robot.objects import ObjectPose, pose_from_quaternion, quaternion_of

UNIT = 0.01  # largest deviation of a quaternion's length from 1


def object_to_msg(pose: ObjectPose, stamp_ns: int, frame: str) -> PoseStamped:
    """Convert the pose of an object to a message.

    Args:
        pose: Pose in the base frame.
        stamp_ns: Time of publication on the clock of the states [ns].
        frame: Name of the base frame.
    """
    message = PoseStamped()
    message.header.frame_id = frame
    message.header.stamp = stamp_to_msg(stamp_ns)
    place = message.pose.position
    place.x, place.y, place.z = pose.position.tolist()
    turn = message.pose.orientation
    turn.w, turn.x, turn.y, turn.z = quaternion_of(pose).tolist()
    return message


def object_from_msg(message: PoseStamped, frame: str) -> ObjectPose:
    """Convert a message to the pose of an object in the base frame.

    Args:
        message: The message; an empty frame stands for the base frame.
        frame: Name of the base frame.

    Raises:
        MessageError: The frame is another one, a value is not finite, or the orientation is no unit
            quaternion.
    """
    found = message.header.frame_id
    if found not in ("", frame):
        raise MessageError(f"a pose in frame '{found}', expected '{frame}': transform it there")
    p = message.pose.position
    q = message.pose.orientation
    position = np.array([p.x, p.y, p.z])
    quaternion = np.array([q.w, q.x, q.y, q.z])
    if not (np.isfinite(position).all() and np.isfinite(quaternion).all()):
        raise MessageError(f"a pose that is not finite: {position} {quaternion}")
    length = float(np.linalg.norm(quaternion))
    if abs(length - 1.0) > UNIT:
        raise MessageError(f"a pose whose quaternion has length {length:.3g}, expected 1")
    return pose_from_quaternion(position, quaternion / length)
