"""Messages of the topic `learner/progress`: progress reports of the learner."""

from __future__ import annotations

import array
from collections.abc import Mapping
from dataclasses import dataclass

from std_msgs.msg import MultiArrayDimension, MultiArrayLayout, UInt64MultiArray

from sql_ros.common.errors import MessageError

# first values of a report; then come pairs of run number and sequence number of an actor process
PROGRESS_FIELDS = ("transitions", "updates", "policy_version")
PROGRESS_LABEL = f"sql_ros.progress/3 {' '.join(PROGRESS_FIELDS)} [run sequence]*"


@dataclass(frozen=True)
class Progress:
    """A progress report of a learner.

    Attributes:
        transitions: Number of transitions in the run, of all actors and earlier sessions.
        updates: Number of gradient updates in the run.
        policy_version: Version of the newest policy that was published.
        acknowledged: Run number of an actor process to the sequence number up to which the learner
            has its transitions, on disk if there is a run folder; in lockstep they are trained on.
        session: Session of the start of the learner's stack; empty: started by hand.
    """

    transitions: int
    updates: int
    policy_version: int
    acknowledged: Mapping[int, int]
    session: str = ""


def progress_to_msg(progress: Progress) -> UInt64MultiArray:
    """Convert a report to an array: `PROGRESS_FIELDS`, then run number and sequence number of every
    actor process.
    """
    pairs = [number for pair in progress.acknowledged.items() for number in pair]
    values = array.array(
        "Q", [progress.transitions, progress.updates, progress.policy_version, *pairs]
    )
    content = MultiArrayDimension(label=PROGRESS_LABEL, size=len(values), stride=len(values))
    session = MultiArrayDimension(label=f"session {progress.session}", size=1, stride=1)
    return UInt64MultiArray(layout=MultiArrayLayout(dim=[content, session]), data=values)


def progress_from_msg(message: UInt64MultiArray) -> Progress:
    """Convert a message to a progress report.

    Raises:
        MessageError: The version or the length is wrong.
    """
    labels = [dimension.label for dimension in message.layout.dim]
    values = list(message.data)
    if len(labels) != 2 or labels[0] != PROGRESS_LABEL or not labels[1].startswith("session "):
        raise MessageError(
            f"message has labels {labels}, expected '{PROGRESS_LABEL}' and 'session <session>'"
        )
    head = len(PROGRESS_FIELDS)
    if len(values) < head or (len(values) - head) % 2:
        raise MessageError(
            f"progress has {len(values)} values, expected {head} and two per actor process"
        )
    acknowledged = dict(zip(values[head::2], values[head + 1 :: 2]))
    transitions, updates, policy_version = values[:head]
    session = labels[1].removeprefix("session ")
    return Progress(transitions, updates, policy_version, acknowledged, session)
