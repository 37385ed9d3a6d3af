"""Messages of the topic `/sql_ros/claims`: the claim of a process (`nodes/claims.py`)."""

from __future__ import annotations

import array

from std_msgs.msg import MultiArrayDimension, UInt64MultiArray

from sql_ros.common.errors import MessageError
from sql_ros.nodes.claims import Claim
from sql_ros.nodes.messages.layout import field_layout

CLAIM_FIELDS = ("since_ns", "id")
CLAIM_LABEL = f"sql_ros.claim/1 {' '.join(CLAIM_FIELDS)}"
# attributes of a claim that are texts; each has a label "<attribute> <text>"
CLAIM_TEXTS = ("node", "commands", "session", "process")
LONGEST_LABEL = 512  # largest number of characters in a label; a topic name has at most 255


def claim_to_msg(claim: Claim) -> UInt64MultiArray:
    """Convert a claim to an array of `CLAIM_FIELDS`, whose labels have the texts of the claim."""
    texts = [f"{name} {getattr(claim, name)}" for name in CLAIM_TEXTS]
    layout = field_layout("sql_ros.claim/1", CLAIM_FIELDS)
    layout.dim += [MultiArrayDimension(label=text, size=1, stride=1) for text in texts]
    return UInt64MultiArray(layout=layout, data=array.array("Q", [claim.since_ns, claim.id]))


def claim_from_msg(message: UInt64MultiArray) -> Claim:
    """Convert a message to a claim.

    Raises:
        MessageError: The version, the length or a label is wrong.
    """
    labels = [dimension.label for dimension in message.layout.dim]
    if labels[:1] != [CLAIM_LABEL] or len(message.data) != len(CLAIM_FIELDS):
        raise MessageError(f"claim has labels {labels}, expected '{CLAIM_LABEL}' first")
    words = [label.partition(" ") for label in labels[1:]]
    if [name for name, _, _ in words] != list(CLAIM_TEXTS):
        raise MessageError(f"claim has labels {labels}, expected {', '.join(CLAIM_TEXTS)}")
    if not all(label.isprintable() and len(label) <= LONGEST_LABEL for label in labels):
        raise MessageError("claim has a label that is too long or cannot be printed")
    since_ns, number = message.data
    return Claim(**{name: text for name, _, text in words}, since_ns=since_ns, id=number)
