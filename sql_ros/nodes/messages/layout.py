"""The layout that the arrays of this package share: one dimension, labelled with its fields."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from std_msgs.msg import MultiArrayDimension, MultiArrayLayout

from sql_ros.common.errors import MessageError


def field_layout(kind: str, fields: Sequence[str]) -> MultiArrayLayout:
    """Return a layout with one dimension, whose label is "<kind> <fields>".

    Args:
        kind: Name of the layout with its version, such as "sql_ros.claim/1".
        fields: Names of the values.
    """
    return MultiArrayLayout(
        dim=[
            MultiArrayDimension(
                label=f"{kind} {' '.join(fields)}", size=len(fields), stride=len(fields)
            )
        ]
    )


def check_fields(message: Any, kind: str, fields: Sequence[str]) -> None:
    """Check label and length of an array with one dimension.

    Args:
        message: The message.
        kind: Expected name of the layout with its version.
        fields: Expected names of the values.

    Raises:
        MessageError: The label or the length is wrong.
    """
    labels = [dimension.label for dimension in message.layout.dim]
    expected = f"{kind} {' '.join(fields)}"
    if labels != [expected]:
        raise MessageError(f"message has labels {labels}, expected ['{expected}']")
    if len(message.data) != len(fields):
        raise MessageError(
            f"message '{kind}' has {len(message.data)} values, expected {len(fields)}"
        )


def as_doubles(values: npt.ArrayLike) -> array.array[float]:
    """Return values as an array of doubles, the type that rclpy converts fastest."""
    return array.array("d", np.asarray(values, np.float64).tobytes())
