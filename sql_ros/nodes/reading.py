"""Read the topics that have messages at the rate of a control loop, in a thread of its own.

For every message, rclpy's executor asks each entity of a node, in Python, whether it is ready. A
wait set of a few topics takes a fraction of that time (`docs/timing.md`). rclpy has no public class
for it. CONTRIBUTING.md lists the private interfaces used here.
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

LONGEST_WAIT_S = 0.05  # longest time between two checks whether the thread is to end


class ExcludedFromExecutor(CallbackGroup):
    """Callback group of entities that the node's executor must not run or wait for.

    The events of the subscriptions are in it, too. With `rmw_fastrtps` every message of a topic
    wakes a thread that waits for an event of its subscription, until the message is taken. An
    executor with the priority and core of the reading thread would then keep that from running.
    """

    def can_execute(self, entity: Any) -> bool:
        """Return False: an executor never runs these entities."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Return False: an executor never runs these entities."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Do nothing: an executor never runs these entities."""


class ReadingThread:
    """Reads topics of one node in one thread, the reading thread.

    Callbacks run one after the other. If several topics have a message, their callbacks run in the
    order in which they were subscribed.

    Args:
        node: Node of the subscriptions. An exception in a callback ends the node.

    Attributes:
        meanwhile: Called in the thread whenever it has handled all messages. It may do a little
            work. It returns the longest time until its next call [s]; 0: the topics are checked
            without waiting. `stop` resets it.
        number: Publication number of the message whose callback runs, from 1; None if the
            middleware does not provide it.
        source_ns: Time of publication of that message by the clock of its publisher [ns]; 0 if the
            middleware does not provide it.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._group = ExcludedFromExecutor()
        self._subscriptions: list[Any] = []
        self._ended = threading.Event()
        self.meanwhile: Callable[[], float] = _idle
        self.number: int | None = None
        self.source_ns = 0
        self._thread: NodeThread | None = None

    def subscribe(
        self, kind: Any, topic: str, callback: Callable[[Any], None], *qos: QoSProfile
    ) -> None:
        """Subscribe to a topic. Call it before `start`.

        Args:
            kind: Message class.
            topic: Topic name, not resolved.
            callback: Called with each message, in the reading thread.
            qos: Quality of service of one or more subscriptions. A publisher is received once by
                each subscription that is compatible with it.
        """
        # no executor would call the default callbacks of events
        events = SubscriptionEventCallbacks(use_default_callbacks=False)
        for each in qos:
            subscription = self._node.create_subscription(
                kind, topic, callback, each, callback_group=self._group, event_callbacks=events
            )
            self._subscriptions.append(subscription)

    def incompatible_publishers(self) -> list[str]:
        """Return a line of text for each publisher of these topics that cannot be received because
        of its quality of service.
        """
        profiles: dict[str, list[QoSProfile]] = {}
        for subscription in list(self._subscriptions):
            profiles.setdefault(subscription.topic_name, []).append(subscription.qos_profile)
        return [
            f"{topic} of {publisher.node_namespace.rstrip('/')}/{publisher.node_name} cannot be"
            f" received. {reasons[0]}"
            for topic, ours in profiles.items()
            for publisher in self._node.get_publishers_info_by_topic(topic)
            if all(reasons := [_qos_conflict(publisher.qos_profile, profile) for profile in ours])
        ]

    def start(self) -> None:
        """Start the reading thread, if there is a subscription."""
        self._ended.clear()
        if self._subscriptions:
            runnable: Runnable = self._node
            self._thread = NodeThread(runnable, self._read, "reading")
            self._thread.start()

    def stop(self) -> None:
        """End the thread and forget the subscriptions, which the node destroys.

        No callback runs after this call, unless a callback made it.
        """
        self._ended.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None
        self.meanwhile = _idle
        self._subscriptions.clear()

    def _take(self, subscription: Any) -> Any:
        """Take the next message of a subscription.

        Returns:
            The message and its info; None if there is none, or if the bytes are no message, which
            is reported to the node.
        """
        try:
            return subscription.handle.take_message(subscription.msg_type, subscription.raw)
        except (rclpy_implementation.RCLError, UnicodeDecodeError, MemoryError) as error:
            runnable: Runnable = self._node
            runnable.bad_input(f"{subscription.topic_name} has bytes that are no message: {error}")
            return None

    def _read(self) -> None:
        """Body of the thread until `stop`: call `meanwhile`, wait for messages, call callbacks.

        A wait is as long as `meanwhile` says, at most `LONGEST_WAIT_S`. Then one message of each
        topic that has one is taken, in the order of subscription; `number` and `source_ns` are set
        before its callback.
        """
        subscriptions = list(self._subscriptions)
        context = self._node.context.handle
        with context:
            waits = rclpy_implementation.WaitSet(len(subscriptions), 0, 0, 0, 0, 0, context)
            while not self._ended.is_set():
                longest = min(self.meanwhile(), LONGEST_WAIT_S)
                if longest <= 0.0:
                    # let the middleware's threads run, which receive the message and may have the
                    # same priority and core
                    os.sched_yield()
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
                            self.source_ns = taken[1].get("source_timestamp") or 0
                            subscription.callback(taken[0])


def _qos_conflict(theirs: QoSProfile, ours: QoSProfile) -> str:
    """Return why a subscription with the profile `ours` cannot receive a publisher with the
    profile `theirs`; empty if it can.
    """
    compatibility, reason = qos_check_compatible(theirs, ours)
    return reason.strip() if compatibility == QoSCompatibility.ERROR else ""


def _idle() -> float:
    """Do nothing; return the longest time until the next call [s]."""
    return LONGEST_WAIT_S
