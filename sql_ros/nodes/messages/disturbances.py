"""Messages of the topic `sim_bridge/disturb`: disturbances of the simulated arm."""

from __future__ import annotations

import numpy as np
from std_msgs.msg import Float64MultiArray, MultiArrayDimension

from sql_ros.common.errors import MessageError
from sql_ros.nodes.messages.layout import as_doubles, field_layout
from sql_ros.trials.disturbance import Disturbance

DISTURBANCE_FIELDS = ("size", "x", "y", "z", "duration_s", "ramp_s")


def disturbance_to_msg(disturbance: Disturbance) -> Float64MultiArray:
    """Convert a disturbance to an array of `DISTURBANCE_FIELDS`, whose second label is
    "<kind> <body>".
    """
    layout = field_layout("sql_ros.disturbance/1", DISTURBANCE_FIELDS)
    layout.dim.append(
        MultiArrayDimension(
            label=f"{disturbance.kind} {disturbance.body}".strip(), size=1, stride=1
        )
    )
    values = (disturbance.size, *disturbance.vector, disturbance.duration_s, disturbance.ramp_s)
    return Float64MultiArray(layout=layout, data=as_doubles(values))


def disturbance_from_msg(message: Float64MultiArray) -> Disturbance:
    """Convert a message to a disturbance.

    Raises:
        MessageError: The version, the length or the kind is wrong, a value is not finite, or a time
            is negative.
    """
    labels = [dimension.label for dimension in message.layout.dim]
    expected = f"sql_ros.disturbance/1 {' '.join(DISTURBANCE_FIELDS)}"
    if len(labels) != 2 or labels[0] != expected:
        raise MessageError(
            f"disturbance has labels {labels}, expected '{expected}' and '<kind> <body>'"
        )
    if len(message.data) != len(DISTURBANCE_FIELDS) or not np.isfinite(message.data).all():
        raise MessageError(
            f"disturbance has the values {list(message.data)}, expected {len(DISTURBANCE_FIELDS)}"
            " finite ones"
        )
    kind, _, body = labels[1].partition(" ")
    size, x, y, z, duration_s, ramp_s = message.data
    if min(duration_s, ramp_s) < 0.0:
        raise MessageError(
            f"disturbance lasts {duration_s} s and {ramp_s} s on the way down, expected 0 or more"
        )
    try:
        return Disturbance(kind, size, body, (x, y, z), duration_s, ramp_s)
    except ValueError as error:
        raise MessageError(str(error)) from None
