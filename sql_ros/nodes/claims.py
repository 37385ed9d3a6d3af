"""Decide which of two conflicting processes must give way. Pure functions, without ROS.

A process claims a node name and, if it commands an arm, a command topic: its place. Two claims
conflict if

- their nodes have the same full name, or
- they have the same command topic, or
- their nodes are in one namespace but belong to different starts of a stack (sessions).

The newer of the two yields. Between two stacks, the older is the one that was started first.
Otherwise the older is the node that was activated first. A node that is not active yields.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass, field


def _describe_process() -> str:
    """Return process id and host name of this process, for messages to the user."""
    return f"{os.getpid()} on {socket.gethostname()}"


def _new_id() -> int:
    """Return a random odd number below 2^63."""
    return secrets.randbits(63) | 1


@dataclass(frozen=True)
class Claim:
    """The claim of one process, as each process publishes it.

    Attributes:
        node: Full name of the node.
        commands: Resolved topic on which the node commands an arm; empty: none.
        session: Session of the start of the stack: its start time [ns] as text. Empty: the node was
            started by hand.
        since_ns: Time of the activation of the node [ns since 1970]; 0: the node is not active.
        id: Random number that identifies the process, drawn at its start.
        process: Process id and host name, for messages to the user.
    """

    node: str
    commands: str = ""
    session: str = ""
    since_ns: int = 0
    id: int = field(default_factory=_new_id)
    process: str = field(default_factory=_describe_process)

    @property
    def namespace(self) -> str:
        """Return the namespace of the node, without a slash at the end."""
        return self.node.rsplit("/", 1)[0]


def conflict(mine: Claim, other: Claim) -> str:
    """Return the conflict between the claims of two processes: the same node name, the same command
    topic, or two starts of a stack in one namespace.

    Args:
        mine: Claim of this process.
        other: Claim of the other process.

    Returns:
        Text for the user; empty if there is no conflict.
    """
    if other.id == mine.id:
        return ""
    if other.node == mine.node:
        return f"another {other.node} is there (process {other.process})"
    if mine.commands and other.commands == mine.commands:
        return f"{other.node} commands {other.commands} already (process {other.process})"
    if _are_of_two_stacks(mine, other):
        return f"another stack is in this namespace: {other.node} (process {other.process})"
    return ""


def reason_to_yield(mine: Claim, other: Claim) -> str:
    """Return the conflict because of which this process must yield to another one.

    Of two stacks, the one that started later yields. Otherwise the process that was activated later
    yields, and a process that is not active yields to an active one.

    Args:
        mine: Claim of this process.
        other: Claim of the other process.

    Returns:
        Text for the user; empty if there is no conflict, or the other process must yield.
    """
    what = conflict(mine, other)
    if not what:
        return ""
    if _are_of_two_stacks(mine, other):
        older = _age(other.session) < _age(mine.session)
    else:
        since = mine.since_ns, mine.id
        older = bool(other.since_ns) and (not mine.since_ns or (other.since_ns, other.id) < since)
    return what if older else ""


def _are_of_two_stacks(mine: Claim, other: Claim) -> bool:
    """Return whether two claims are of different stacks in the same namespace."""
    both = bool(mine.session and other.session) and mine.session != other.session
    return both and mine.namespace == other.namespace


def _age(session: str) -> tuple[int, str]:
    """Return a key that sorts sessions by start time, the oldest first.

    A session is a start time [ns] as text, so a shorter text is older.
    """
    return len(session), session
