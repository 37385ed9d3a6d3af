"""Messages of the topic `policy`: the bytes of an ONNX file."""

from __future__ import annotations

import hashlib

from std_msgs.msg import MultiArrayDimension, MultiArrayLayout, UInt8MultiArray

from sql_ros.common.errors import MessageError
from sql_ros.policy.runtime import LARGEST_FILE


def policy_to_msg(data: bytes) -> UInt8MultiArray:
    """Convert the bytes of an ONNX file to a message, whose label has their SHA-256."""
    label = f"sql_ros.policy/1 sha256 {hashlib.sha256(data).hexdigest()}"
    dimension = MultiArrayDimension(label=label, size=len(data), stride=len(data))
    return UInt8MultiArray(layout=MultiArrayLayout(dim=[dimension]), data=data)


def policy_from_msg(message: UInt8MultiArray) -> bytes:
    """Return the bytes of an ONNX file, verified by their SHA-256. The content is not checked.

    Raises:
        MessageError: The version is unknown, the file is too large, or its SHA-256 differs from the
            label.
    """
    labels = [dimension.label for dimension in message.layout.dim]
    if len(labels) != 1 or not labels[0].startswith("sql_ros.policy/1 sha256 "):
        raise MessageError(f"policy has labels {labels}, expected 'sql_ros.policy/1 sha256 <hex>'")
    if len(message.data) > LARGEST_FILE:
        raise MessageError(f"policy has {len(message.data)} bytes, expected at most {LARGEST_FILE}")
    data = bytes(message.data)
    digest = hashlib.sha256(data).hexdigest()
    if labels[0].rsplit(" ", 1)[1] != digest:
        raise MessageError(f"policy has SHA-256 {digest}, but is labelled '{labels[0]}'")
    return data
