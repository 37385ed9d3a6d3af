"""Messages of the topic `actor/episodes`: the summary of an episode."""

from __future__ import annotations

import array
from dataclasses import asdict

import numpy as np
from std_msgs.msg import Float64MultiArray

from sql_ros.common.errors import MessageError
from sql_ros.nodes.messages.layout import check_fields, field_layout
from sql_ros.robot.control.step import EpisodeSummary

EPISODE_FIELDS = (
    "index",
    "steps",
    "robot_steps",
    "undiscounted_return",
    "success",
    "distance",
    "policy_version",
    "terminated",
)
LAYOUT = "sql_ros.episode/2"  # in version 1 there was no "terminated"


def episode_to_msg(summary: EpisodeSummary) -> Float64MultiArray:
    """Convert the summary of an episode to an array of `EPISODE_FIELDS`."""
    values = asdict(summary)
    data = array.array("d", [float(values[name]) for name in EPISODE_FIELDS])
    return Float64MultiArray(layout=field_layout(LAYOUT, EPISODE_FIELDS), data=data)


def episode_from_msg(message: Float64MultiArray) -> EpisodeSummary:
    """Convert a message to the summary of an episode.

    Raises:
        MessageError: The version or the length is wrong, a count is no whole number, or a value is
            not finite as float32.
    """
    check_fields(message, LAYOUT, EPISODE_FIELDS)
    # sums of such values are finite, and can be plotted
    if not (np.abs(message.data) <= np.finfo(np.float32).max).all():
        raise MessageError(
            f"episode has values that are not finite as float32: {list(message.data)}"
        )
    (
        index,
        steps,
        robot_steps,
        undiscounted_return,
        success,
        distance,
        version,
        terminated,
    ) = message.data
    counts = index, steps, robot_steps, version
    if any(count < 0 or count != int(count) for count in counts):
        raise MessageError(f"episode has counts {counts}, expected whole numbers")
    return EpisodeSummary(
        int(index),
        int(steps),
        int(robot_steps),
        undiscounted_return,
        bool(success),
        distance,
        int(version),
        bool(terminated),
    )
