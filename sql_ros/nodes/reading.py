"""Topics that are read in a thread of their own: those that come at the rate of a control loop.

For every message rclpy's executor asks each entity of a node, in Python, if it is ready. A wait set that holds these topics alone takes
a fraction of that (`docs/safety.md`); rclpy has no public class for it, so this does what its `wait_for_message` does, again and again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible

from sql_ros.nodes.process import NodeThread, Runnable

LONGEST_WAIT_S = 0.05  # after which a wait looks whether it is to end


class ReadElsewhere(CallbackGroup):
    """Of entities that the node's executor leaves alone.

    Their events, too: who waits for an event is woken by every message of the topic (`rmw_fastrtps`), and again until somebody takes it. An
    executor of the reader's own priority and core then never lets the reader do that.
    """

    def can_execute(self, entity: Any) -> bool:
        """Never, by an executor."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Never."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """It never began."""


class Reading:
    """The topics of one node; callbacks run one after the other, where several are ready in the order of `subscribe`.

    Args:
        node: whose subscriptions they are; what a callback raises ends it.

    Attributes:
        meanwhile: called whenever there is nothing to read, may do a little work and says how long it can wait for the next time [s]; 0:
            topics are looked at and it is called again.
        number: that its publisher gave the message whose callback runs, counting from 1; None where the middleware does not say.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._group = ReadElsewhere()
        self._subscriptions: list[Any] = []
        self._ended = threading.Event()
        self.meanwhile: Callable[[], float] = _nothing
        self.number: int | None = None
        self._thread: NodeThread | None = None

    def subscribe(self, kind: Any, topic: str, callback: Callable[[Any], None], *qos: QoSProfile) -> None:
        """As rclpy's `create_subscription`; before `start`. With several profiles whoever fits one is heard, twice where he fits two."""
        events = SubscriptionEventCallbacks(use_default_callbacks=False)  # nobody would call them
        for each in qos:
            subscription = self._node.create_subscription(kind, topic, callback, each, callback_group=self._group, event_callbacks=events)
            self._subscriptions.append(subscription)

    def unheard(self) -> list[str]:
        """A line for each publisher that is there and cannot be heard, for its quality of service."""
        profiles: dict[str, list[QoSProfile]] = {}
        for subscription in list(self._subscriptions):
            profiles.setdefault(subscription.topic_name, []).append(subscription.qos_profile)
        return [
            f"{topic} of {publisher.node_namespace.rstrip('/')}/{publisher.node_name} cannot be heard. {reasons[0]}"
            for topic, ours in profiles.items()
            for publisher in self._node.get_publishers_info_by_topic(topic)
            if all(reasons := [_misfit(publisher.qos_profile, profile) for profile in ours])
        ]

    def start(self) -> None:
        """Begins to read, if there is something to."""
        self._ended.clear()
        if self._subscriptions:
            runnable: Runnable = self._node  # type: ignore[assignment]
            self._thread = NodeThread(runnable, self._read, "reading")
            self._thread.start()

    def stop(self) -> None:
        """Ends it; no callback runs after this. The subscriptions are the node's to destroy."""
        self._ended.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread, self.meanwhile = None, _nothing
        self._subscriptions.clear()

    def _take(self, subscription: Any) -> Any:
        """The next message; None where there is none, or bytes that are no message, which somebody may send."""
        try:
            return subscription.handle.take_message(subscription.msg_type, subscription.raw)
        except (rclpy_implementation.RCLError, UnicodeDecodeError, MemoryError) as error:
            runnable: Runnable = self._node  # type: ignore[assignment]
            runnable.bad_input(f"{subscription.topic_name} has bytes that are no message: {error}")
            return None

    def _read(self) -> None:
        """Body of the thread."""
        subscriptions, context = list(self._subscriptions), self._node.context.handle
        with context:
            waits = rclpy_implementation.WaitSet(len(subscriptions), 0, 0, 0, 0, 0, context)
            while not self._ended.is_set():
                longest = min(self.meanwhile(), LONGEST_WAIT_S)
                if longest <= 0.0:
                    os.sched_yield()  # to the middleware's threads, which bring the message and may have the same priority and core
                waits.clear_entities()
                for subscription in subscriptions:
                    waits.add_subscription(subscription.handle)
                waits.wait(int(1e9 * max(longest, 0.0)))
                ready = waits.get_ready_entities("subscription")
                for subscription in subscriptions:
                    if subscription.handle.pointer in ready and not self._ended.is_set():
                        taken = self._take(subscription)
                        if taken is not None:
                            self.number = taken[1].get("publication_sequence_number")
                            subscription.callback(taken[0])


def _misfit(theirs: QoSProfile, ours: QoSProfile) -> str:
    """Why a publisher does not reach a subscription; empty if it does."""
    compatibility, reason = qos_check_compatible(theirs, ours)
    return reason.strip() if compatibility == QoSCompatibility.ERROR else ""


def _nothing() -> float:
    """Is to be done meanwhile."""
    return LONGEST_WAIT_S
