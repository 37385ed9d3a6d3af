"""The rules by which one of two conflicting processes yields. They are pure functions without ROS.

Two claims conflict if their nodes have the same full name, if they command the same topic, or if
their stacks (sessions) share a namespace. The older claim stays: that of the stack that was started
first, otherwise that of the node that was activated first. A node that is not active has no age,
and yields.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass, field


def _describe_process() -> str:
    """Return process id and host of this process."""
    return f"{os.getpid()} on {socket.gethostname()}"


def _new_id() -> int:
    """Return a random odd number of 63 bits."""
    return secrets.randbits(63) | 1


@dataclass(frozen=True)
class Claim:
    """The place of a process among the others.

    Attributes:
        node: Full name of its node.
        commands: Resolved topic on which it commands an arm; empty: none.
        session: Session of the start of its stack; empty: it was started by hand.
        since_ns: Time of its activation [ns since 1970]; 0: it is not active.
        id: Random number of the process, drawn at its start.
        process: Process id and host, for messages.
    """

    node: str
    commands: str = ""
    session: str = ""
    since_ns: int = 0
    id: int = field(default_factory=_new_id)
    process: str = field(default_factory=_describe_process)

    @property
    def namespace(self) -> str:
        """Return the namespace of the node."""
        return self.node.rsplit("/", 1)[0]


def conflict(mine: Claim, other: Claim) -> str:
    """Return the conflict between the claims of this process and another one; empty if there
    is none.
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
    """Return why this process must yield to another one; empty if it need not."""
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
    """Return a key that sorts sessions by age, the oldest first.

    A session is the start time of a stack [ns] as text, so that a shorter one is older.
    """
    return len(session), session
