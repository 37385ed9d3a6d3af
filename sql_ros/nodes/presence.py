"""Announce each process of sql_ros, and find another one with the same node name or command topic.

Each process publishes its claim (`claims.py`) every `BEAT_S` on `/sql_ros/claims`, in a thread of
its own. Such a message is a sign of life. The graph of DDS is not one: it lists a process for up to
20 s after its death.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from std_msgs.msg import UInt64MultiArray

from sql_ros.common.errors import ConfigError, MessageError
from sql_ros.nodes.claims import Claim, conflict, reason_to_yield
from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.endpoint_names import endpoint_name
from sql_ros.nodes.messages import claim_from_msg, claim_to_msg
from sql_ros.nodes.qos import LATCHED, LATCHED_BY_MANY
from sql_ros.nodes.reading import ReadingThread
from sql_ros.robot.control.realtime import lower_priority
from sql_ros.robot.safety.state_watchdog import NO_REASONS

TOPIC = "/sql_ros/claims"  # one topic, because processes of two namespaces may command one arm
BEAT_S = 0.5  # time between two signs of life
SIGN_OF_LIFE_S = 2.5  # longest time between two signs of life of a live process
# from the end of a silence until a successor is discovered: Fast DDS announces a process every 3 s
RECLAIM_S = 5.0
DISCOVERY_S = 1.0  # from the start until other processes are discovered (measured: 0.8 s at most)
POLL_S = 0.05  # time between two queries of the graph during a claim
WATCHDOG = "_command_watchdog"  # suffix of the node name of an actor's command watchdog
MOST_OTHERS = 256  # processes in conflict that are remembered
SILENT = {
    "claim_lost": (
        f"this process gave no sign of life for over {SIGN_OF_LIFE_S:g} s, and another may have"
        f" taken its place: for {RECLAIM_S:g} s it checks whether one has"
    )
}
ADVICE = "stop it, or give one of the two a ROS_DOMAIN_ID or a namespace of its own"


def unclaimed_publishers(publishers: list[str], alive: list[str], mine: str) -> list[str]:
    """Return the node names of publishers that belong to no process with a claim.

    A process with a claim accounts for one publisher of its node and one of its command watchdog.

    Args:
        publishers: Full node name of each publisher, except those of this process.
        alive: Full node name of each other process with a claim.
        mine: Full name of the node of this process.

    Returns:
        The names, sorted, each once. A publisher with the name `mine` is "another <name>".
    """
    expected = Counter(name for node in alive for name in (node, node + WATCHDOG))
    left = Counter(publishers) - expected
    return sorted(f"another {name}" if name in (mine, mine + WATCHDOG) else name for name in left)


class Presence:
    """The claim of one node, and the claims of other processes that conflict with it.

    Args:
        node: The node.
        session: Session of the start of its stack; empty: started by hand.
        diagnostics: Counts conflicts.
        yield_place: Called when the node is active and must give way to another process. Its
            argument is the conflict in words. It runs in the thread of this class.
    """

    def __init__(
        self, node: Any, session: str, diagnostics: Diagnostics, yield_place: Callable[[str], None]
    ) -> None:
        self._node = node
        self._diagnostics = diagnostics
        self._yield_place = yield_place
        self._own = Claim(node.get_fully_qualified_name(), session=session)
        # id of a claim to the conflicting claim and the steady time at which it came last [s]
        self._conflicts: dict[int, tuple[Claim, float]] = {}
        # id of a claim to the full node name and the steady time at which it came last [s]
        self._known: dict[int, tuple[str, float]] = {}
        self._news = threading.Condition()
        self._active = self._lowers_priority = False
        self._next_beat = 0.0
        self._began = self._beat_at = time.monotonic()
        self._reclaims_until: float | None = None  # steady time [s], after a silence
        self._publisher = node.create_publisher(UInt64MultiArray, TOPIC, LATCHED)
        self._reading = ReadingThread(node)
        self._reading.subscribe(UInt64MultiArray, TOPIC, self._on_claim, LATCHED_BY_MANY)

    def start(self) -> None:
        """Start the thread that publishes and receives claims."""
        self._beat_at = time.monotonic()
        self._reading.meanwhile = self._publish_due_claim
        self._reading.start()

    def stop(self) -> None:
        """Publish that the node is not active, and end the thread."""
        self.release()
        self._reading.stop()

    def claim(self, commands: str = "") -> None:
        """Claim node name and command topic, at the start of an activation.

        Blocks until other processes must have been discovered; and, if the graph lists another
        process with this node name or command topic, until its sign of life, for
        `SIGN_OF_LIFE_S` at most. A process without a sign of life counts as dead.

        Args:
            commands: Resolved topic on which the node is to command an arm; empty: none.

        Raises:
            ConfigError: This process must yield to another one. The claim is then withdrawn.
        """
        began = time.monotonic()
        found = self._began + DISCOVERY_S
        self._publish_claim(replace(self._own, since_ns=time.time_ns(), commands=commands))
        deadline = began + SIGN_OF_LIFE_S
        with self._news:
            while not (why := self._reason_to_yield(began)):
                now = time.monotonic()
                if now >= deadline or (now >= found and self._have_all_rivals_spoken(began)):
                    self._active = self._lowers_priority = True
                    return
                self._news.wait(POLL_S)
        self.release()
        raise ConfigError(f"{why}: {ADVICE}")

    def release(self) -> None:
        """Withdraw the claim: publish that the node is not active and commands no arm."""
        self._active = False
        self._publish_claim(replace(self._own, since_ns=0, commands=""))

    def reasons(self, now: float) -> Mapping[str, str]:
        """Return why the arm must be held, see `Guard.conditions`.

        The arm is held if this process has given no sign of life for `SIGN_OF_LIFE_S`, and for
        `RECLAIM_S` after that: another process may have been activated in its place.

        Args:
            now: Steady time [s].

        Returns:
            Hold kind (`claim_lost`) to description; empty otherwise.
        """
        is_lost = self._reclaims_until is not None or now - self._beat_at > SIGN_OF_LIFE_S
        return SILENT if is_lost else NO_REASONS

    def unclaimed_publishers(self, owns: Callable[[bytes, str], bool]) -> list[str]:
        """Return the nodes that publish on the command topic of this node without a claim.

        Processes with a claim are left out, because of two active ones one yields by itself. A
        claim counts only if it came within the last `SIGN_OF_LIFE_S`.

        Args:
            owns: Returns whether a publisher belongs to this node, given its GID and the full name
                of its node.

        Returns:
            Full node names, sorted, each once; "another <name>" for a second process with the name
            of this node. Empty if this node commands no arm.
        """
        if not self._own.commands:
            return []
        named = [
            (bytes(p.endpoint_gid), endpoint_name(p))
            for p in self._node.get_publishers_info_by_topic(self._own.commands)
        ]
        oldest = time.monotonic() - SIGN_OF_LIFE_S
        with self._news:
            alive = [node for node, at in self._known.values() if at >= oldest]
        return unclaimed_publishers(
            [name for gid, name in named if not owns(gid, name)], alive, self._own.node
        )

    def _publish_claim(self, claim: Claim) -> None:
        """Replace the claim of this process, and publish it now."""
        self._own = claim
        self._publisher.publish(claim_to_msg(claim))

    def _publish_due_claim(self) -> float:
        """Look for a silence of this process (`_notice_silence`), then publish the claim if it is
        due. Called by the thread while it has nothing to read.

        Returns:
            Time until the claim is due again [s].
        """
        if self._lowers_priority:  # an activation may raise the priority of every thread
            self._lowers_priority = False
            lower_priority()
        now = time.monotonic()
        self._notice_silence(now)
        if now >= self._next_beat:
            self._next_beat = now + BEAT_S
            self._publisher.publish(claim_to_msg(self._own))
        return self._next_beat - now

    def _notice_silence(self, now: float) -> None:
        """Look for a silence of this process of `SIGN_OF_LIFE_S`, in which others counted it as
        dead. The cause may be a suspension of the process.

        After a silence hold the arm for `RECLAIM_S`, claim again as from now if this node is
        active, and count a fault.

        Args:
            now: Steady time [s].
        """
        if now - self._beat_at > SIGN_OF_LIFE_S:
            self._reclaims_until = now + RECLAIM_S
            if self._own.since_ns:
                self._publish_claim(replace(self._own, since_ns=time.time_ns()))
            self._diagnostics.fault("claim_lost", SILENT["claim_lost"])
        elif self._reclaims_until is not None and now >= self._reclaims_until:
            self._reclaims_until = None
        self._beat_at = now

    def _on_claim(self, message: UInt64MultiArray) -> None:
        """Store a claim of another process; call `yield_place` if this node is active and must
        yield to that process.

        Which of two must yield, `reason_to_yield` says; but for `RECLAIM_S` after a silence, this
        process yields to every active one. A new conflict in which the other process must yield is
        counted as a fault. A malformed message is counted and dropped.

        Args:
            message: The claim.
        """
        try:
            other = claim_from_msg(message)
        except MessageError as error:
            self._diagnostics.fault("claim_dropped", str(error))
            return
        if other.id == self._own.id:
            return
        what = conflict(self._own, other)
        with self._news:
            if other.id not in self._known and len(self._known) >= MOST_OTHERS:
                self._known.pop(next(iter(self._known)))
            self._known[other.id] = other.node, time.monotonic()
        if not what:
            with self._news:
                self._conflicts.pop(other.id, None)
            return
        with self._news:
            is_new = other.id not in self._conflicts
            if is_new and len(self._conflicts) >= MOST_OTHERS:
                self._conflicts.pop(next(iter(self._conflicts)))
            self._conflicts[other.id] = other, time.monotonic()
            is_successor = self._reclaims_until is not None and bool(other.since_ns)
            why = what if is_successor else reason_to_yield(self._own, other)
            active = self._active
            self._active = active and not why
            self._news.notify_all()
        if active and why:
            self._yield_place(f"{why}: {ADVICE}")
        elif active and is_new:
            self._diagnostics.fault("twin", f"{what}: the other process must yield")

    def _reason_to_yield(self, since: float) -> str:
        """Return why this process must yield to another one, in words; empty if it need not.

        Args:
            since: Steady time [s]; processes without a sign of life since then do not count.
        """
        heard = [other for other, at in self._conflicts.values() if at >= since]
        return next(filter(None, (reason_to_yield(self._own, other) for other in heard)), "")

    def _have_all_rivals_spoken(self, since: float) -> bool:
        """Return whether every process with this node name or command topic in the graph, and every
        conflicting process, has given a sign of life since a time. Then no other need be awaited.

        Args:
            since: Steady time [s].
        """
        alive = [other.node for other, at in self._conflicts.values() if at >= since]
        named = self._node.get_node_names_and_namespaces().count(
            (self._node.get_name(), self._node.get_namespace())
        )
        if named - 1 > alive.count(self._own.node) or len(alive) < len(self._conflicts):
            return False
        return set(self._publishers()) <= {*alive, self._own.node}

    def _publishers(self) -> list[str]:
        """Return the full names of the nodes that publish on the command topic of this node.

        This node is included; command watchdogs are not. Empty if the node commands no arm.
        """
        if not self._own.commands:
            return []
        publishers = self._node.get_publishers_info_by_topic(self._own.commands)
        others = [p for p in publishers if not p.node_name.endswith(WATCHDOG)]
        return [endpoint_name(p) for p in others]
