"""Which of two processes has to give way: pure rules, without ROS.

Two claims conflict if their nodes have the same full name, if they command the same topic, or if
their stacks (sessions) share a namespace. The older one stays: the stack that was started first,
otherwise the node that was activated first. A node that is not active has no age, and gives way.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass, field


def _describe_process() -> str:
    return f"{os.getpid()} on {socket.gethostname()}"


def _new_id() -> int:
    return secrets.randbits(63) | 1


@dataclass(frozen=True)
class Claim:
    """What a process says of itself.

    Attributes:
        node: full name of its node.
        commands: topic on which it commands an arm, resolved; empty: none.
        session: of the start of its stack; empty: it was started by hand.
        since_ns: time of its activation [ns since 1970]; 0: it is not active.
        id: of the process, drawn at its start.
        process: process id and host, for people.
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
    """Return what another process has that only one may have; empty if there is nothing."""
    if other.id == mine.id:
        return ""
    if other.node == mine.node:
        return f"another {other.node} is there (process {other.process})"
    if mine.commands and other.commands == mine.commands:
        return f"{other.node} commands {other.commands} already (process {other.process})"
    if _of_two_stacks(mine, other):
        return f"another stack is in this namespace: {other.node} (process {other.process})"
    return ""


def reason_to_yield(mine: Claim, other: Claim) -> str:
    """Return why this process has to give way to the other; empty if it need not."""
    what = conflict(mine, other)
    if not what:
        return ""
    if _of_two_stacks(mine, other):
        older = _age(other.session) < _age(mine.session)
    else:
        since = mine.since_ns, mine.id
        older = bool(other.since_ns) and (not mine.since_ns or (other.since_ns, other.id) < since)
    return what if older else ""


def _of_two_stacks(mine: Claim, other: Claim) -> bool:
    both = bool(mine.session and other.session) and mine.session != other.session
    return both and mine.namespace == other.namespace


def _age(session: str) -> tuple[int, str]:
    """Return a key that sorts the sessions of stacks, which are times in ns, by age."""
    return len(session), session
