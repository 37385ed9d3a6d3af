"""Every process of sql_ros says that it lives, and notices another one in its place.

The graph of DDS lists a process for up to 20 s after its death. So what counts is a sign of life:
each process repeats its claim (`claims.py`) on `/sql_ros/claims`, in a thread of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from std_msgs.msg import UInt64MultiArray

from sql_ros.core.errors import ConfigError, MessageError
from sql_ros.nodes.claims import Claim, conflict, reason_to_yield
from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.endpoint_names import endpoint_name
from sql_ros.nodes.messages import claim_from_msg, claim_to_msg
from sql_ros.nodes.qos import LATCHED, LATCHED_BY_MANY
from sql_ros.nodes.reading import Reading
from sql_ros.robot.realtime import step_back

TOPIC = "/sql_ros/claims"  # of all namespaces: two of them may command one arm
BEAT_S = 0.5  # between two signs of life
SIGN_OF_LIFE_S = 2.5  # the longest wait for one of a process that the graph lists
DISCOVERY_S = 1.0  # from the start until those that are there are found; measured: 0.8 s at most
LOOK_S = 0.05  # between two looks at the graph meanwhile
WATCHDOG = "_command_watchdog"  # end of the name of an actor's child, on the topic of its commands
MOST_OTHERS = 256  # processes in conflict that are remembered
ADVICE = "stop it, or give one of the two a ROS_DOMAIN_ID or a namespace of its own"


class Presence:
    """The claim of one node and those of others that conflict with it.

    Args:
        node: of this process.
        session: of the start of its stack; empty: none.
        diagnostics: counts.
        give_way: called, in a thread of this class, when an active node has to give way; is told why.
    """

    def __init__(self, node: Any, session: str, diagnostics: Diagnostics, give_way: Callable[[str], None]) -> None:
        self._node, self._diagnostics, self._give_way = node, diagnostics, give_way
        self._mine = Claim(node.get_fully_qualified_name(), session=session)
        self._others: dict[int, tuple[Claim, float]] = {}  # by id, with the steady time of its last sign
        self._known: dict[int, str] = {}  # nodes that have claimed anything, by id of the process
        self._news = threading.Condition()
        self._active = self._steps_back = False
        self._next_beat = 0.0
        self._began = time.monotonic()
        self._publisher = node.create_publisher(UInt64MultiArray, TOPIC, LATCHED)
        self._reading = Reading(node)
        self._reading.subscribe(UInt64MultiArray, TOPIC, self._on_claim, LATCHED_BY_MANY)

    def start(self) -> None:
        """Begin to give and to hear signs of life."""
        self._reading.meanwhile = self._beat
        self._reading.start()

    def stop(self) -> None:
        """Withdraw the claim and end."""
        self.release()
        self._reading.stop()

    def claim(self, commands: str = "") -> None:
        """Claim the place of this node, at the start of its activation.

        Wait until the processes that are there must have been found, and for a sign of life where
        the graph lists one in this place.

        Args:
            commands: topic on which it is to command an arm; empty: none.

        Raises:
            ConfigError: Another process has it.
        """
        began = time.monotonic()
        found = self._began + DISCOVERY_S
        self._say(replace(self._mine, since_ns=time.time_ns(), commands=commands))
        deadline = began + SIGN_OF_LIFE_S
        with self._news:
            while not (why := self._reason_to_yield(began)):
                now = time.monotonic()
                if now >= deadline or (now >= found and self._all_are_known(began)):
                    self._active = self._steps_back = True
                    return
                self._news.wait(LOOK_S)
        self.release()
        raise ConfigError(f"{why}: {ADVICE}")

    def release(self) -> None:
        """Leave the place to others."""
        self._active = False
        self._say(replace(self._mine, since_ns=0, commands=""))

    def strangers(self) -> list[str]:
        """Return the nodes that never claimed anything and publish on the topic of this node's commands."""
        with self._news:
            known = {*self._known.values(), self._mine.node}
        return sorted(set(self._publishers()) - known)

    def _say(self, claim: Claim) -> None:
        self._mine = claim
        self._publisher.publish(claim_to_msg(claim))

    def _beat(self) -> float:
        """Repeat the claim when it is due; return the time until then [s]."""
        if self._steps_back:  # the activation may have raised the priority of every thread
            self._steps_back = False
            step_back()
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + BEAT_S
            self._publisher.publish(claim_to_msg(self._mine))
        return self._next_beat - now

    def _on_claim(self, message: UInt64MultiArray) -> None:
        try:
            other = claim_from_msg(message)
        except MessageError as error:
            self._diagnostics.fault("claim_dropped", str(error))
            return
        what = conflict(self._mine, other)
        with self._news:
            if other.id not in self._known and len(self._known) >= MOST_OTHERS:
                self._known.pop(next(iter(self._known)))
            self._known[other.id] = other.node
        if not what:
            with self._news:
                self._others.pop(other.id, None)
            return
        with self._news:
            is_new = other.id not in self._others
            if is_new and len(self._others) >= MOST_OTHERS:
                self._others.pop(next(iter(self._others)))
            self._others[other.id] = other, time.monotonic()
            why, active = reason_to_yield(self._mine, other), self._active
            self._active = active and not why
            self._news.notify_all()
        if active and why:
            self._give_way(f"{why}: {ADVICE}")
        elif active and is_new:
            self._diagnostics.fault("twin", f"{what}: it has to give way")

    def _reason_to_yield(self, since: float) -> str:
        """Return why to give way to a process that gave a sign of life since then."""
        heard = [other for other, at in self._others.values() if at >= since]
        return next(filter(None, (reason_to_yield(self._mine, other) for other in heard)), "")

    def _all_are_known(self, since: float) -> bool:
        """Return whether every process in this place has given a sign of life since then."""
        alive = [other.node for other, at in self._others.values() if at >= since]
        named = self._node.get_node_names_and_namespaces().count((self._node.get_name(), self._node.get_namespace()))
        if named - 1 > alive.count(self._mine.node) or len(alive) < len(self._others):
            return False
        return set(self._publishers()) <= {*alive, self._mine.node}

    def _publishers(self) -> list[str]:
        """Return the nodes that publish on the topic of this node's commands, itself included."""
        if not self._mine.commands:
            return []
        publishers = self._node.get_publishers_info_by_topic(self._mine.commands)
        others = [p for p in publishers if not p.node_name.endswith(WATCHDOG)]
        return [endpoint_name(p) for p in others]
