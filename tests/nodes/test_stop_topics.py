"""A stop topic has one publisher. Over DDS, in the process of the test."""

from types import SimpleNamespace

import pytest
from std_msgs.msg import Bool

from sql_ros.nodes.qos import RELIABLE
from sql_ros.nodes.stop_topics import StopTopics
from sql_ros.robot.safety.stop_latch import StopLatch

pytestmark = pytest.mark.stack
LOCK = "/actor/stop_lock"


class Lock:
    """The lock of an arm, and those who publish on its topic.

    Attributes:
        latch: Receives the messages.
        heard: Messages that have arrived.
    """

    def __init__(self, probe) -> None:
        self._probe = probe
        self.latch = StopLatch()
        self.heard: list[bool] = []
        node = probe.node
        node.reading = SimpleNamespace(subscribe=self._subscribe, source_ns=1)
        self._topics = StopTopics(node, self.latch, "/actor", {}, (), SimpleNamespace())

    def _subscribe(self, kind, topic, callback, *qos) -> None:
        """Subscribe in the executor of the test, and count the messages of the lock."""

        def on_message(message) -> None:
            callback(message)
            if topic == LOCK:
                self.heard.append(message.data)

        for each in qos:
            self._probe.node.create_subscription(kind, topic, on_message, each)

    def publisher(self):
        """Return a new publisher that the lock hears."""
        publisher = self._probe.node.create_publisher(Bool, LOCK, RELIABLE)
        self._probe.wait(publisher.get_subscription_count, what="a subscriber")
        return publisher

    def take(self, publisher, is_locked: bool) -> set[str]:
        """Publish and wait for the arrival; return the kinds of the reasons to hold."""
        count = len(self.heard)
        publisher.publish(Bool(data=is_locked))
        self._probe.wait(lambda: len(self.heard) > count, what="the message")
        return self.kinds()

    def kinds(self) -> set[str]:
        """Return the kinds of the reasons to hold."""
        return set(self.latch.reasons(0.0))


def test_a_stop_holds_although_another_publisher_says_false(probe):
    lock = Lock(probe)
    first = lock.publisher()
    assert lock.take(first, True) == {"stop_lock"}
    second = lock.publisher()
    assert lock.take(second, False) == {"stop_lock", "stop_shared"}
    why = lock.latch.reasons(0.0)["stop_shared"]
    assert why.startswith(f"{LOCK} has 2 publishers, /probe and /probe, and one could end")
    probe.node.destroy_publisher(second)
    probe.wait(lambda: "stop_shared" not in lock.kinds(), what="one publisher")
    assert lock.kinds() == {"stop_lock"}
    assert lock.take(first, False) == set()


def test_a_second_publisher_holds_an_arm_that_no_one_stops(probe):
    lock = Lock(probe)
    first = lock.publisher()
    assert lock.take(first, False) == set()
    second = lock.publisher()
    probe.wait(lambda: lock.kinds() == {"stop_shared"}, what="the hold")
    probe.node.destroy_publisher(first)
    probe.wait(lambda: not lock.kinds(), what="its end")
    assert lock.take(second, False) == set()
