"""Topics read without an executor, beside one that spins the same node."""

import threading
import time

import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Int64

from sql_ros.nodes.qos import RELIABLE
from sql_ros.nodes.reading import ReadingThread

pytestmark = pytest.mark.stack


class Reader(LifecycleNode):
    """Reads `fast` by itself and has `slow` read by its executor."""

    def __init__(self, context, on_fast) -> None:
        super().__init__("reader", context=context)
        self.finished, self.failure = threading.Event(), None
        self.slow: list[int] = []
        self.reading = ReadingThread(self)
        self.reading.subscribe(Int64, "fast", on_fast, RELIABLE)
        self.create_subscription(
            Int64, "slow", lambda message: self.slow.append(message.data), RELIABLE
        )


@pytest.fixture
def make(probe):
    """A node with a callback, spun by an executor."""
    made, closing = [], threading.Event()
    executor = SingleThreadedExecutor(context=probe.context)

    def spin() -> None:
        while not closing.is_set():
            executor.spin_once(timeout_sec=0.05)

    spinning = threading.Thread(target=spin)

    def build(on_fast) -> Reader:
        node = Reader(probe.context, on_fast)
        made.append(node)
        executor.add_node(node)
        spinning.start()
        return node

    yield build
    closing.set()
    spinning.join()
    executor.shutdown()
    for node in made:
        node.reading.stop()
        node.destroy_node()


@pytest.fixture
def publish(probe):
    publishers = {
        topic: probe.node.create_publisher(Int64, topic, RELIABLE) for topic in ("fast", "slow")
    }

    def send(topic: str, *values: int) -> None:
        probe.wait(publishers[topic].get_subscription_count, what=topic)
        for value in values:
            publishers[topic].publish(Int64(data=value))

    return send


def test_every_message_is_read_once_in_its_order_by_one_thread_and_never_by_the_executor(
    probe, make, publish
):
    read, threads = [], set()

    def on_fast(message) -> None:
        read.append(message.data)
        threads.add(threading.current_thread().name)

    node = make(on_fast)
    node.reading.start()
    publish("slow", 1)
    publish("fast", *range(50))
    probe.wait(lambda: len(read) >= 50 and node.slow)
    probe.spin_for(0.3)
    assert (read, threads, node.slow) == (list(range(50)), {"reading"}, [1])


def test_nothing_is_read_before_the_start_nor_after_the_stop(probe, make, publish):
    read = []
    node = make(lambda message: read.append(message.data))
    publish("fast", 1)
    probe.spin_for(0.3)
    assert read == []
    node.reading.start()
    probe.wait(lambda: read == [1])  # kept meanwhile
    node.reading.stop()
    publish("fast", 2)
    probe.spin_for(0.3)
    assert read == [1]


def test_messages_that_nobody_read_yet_do_not_wake_the_executor(probe):
    """One of the reader's own priority and core would never let it read them."""
    node, executor = Reader(probe.context, print), SingleThreadedExecutor(context=probe.context)
    executor.add_node(node)
    try:
        publisher = probe.node.create_publisher(Int64, "fast", RELIABLE)
        probe.wait(publisher.get_subscription_count)
        probe.spin_for(0.5)
        publisher.publish(Int64(data=1))
        executor.spin_once(timeout_sec=0.1)
        began = time.thread_time()
        executor.spin_once(timeout_sec=2.0)
        assert time.thread_time() - began < 0.5
    finally:
        executor.shutdown()
        node.destroy_node()


def test_an_error_in_a_callback_ends_the_node(probe, make, publish):
    def on_fast(message) -> None:
        raise ArithmeticError("two and two is five")

    node = make(on_fast)
    node.reading.start()
    publish("fast", 1)
    probe.wait(node.finished.is_set)
    assert isinstance(node.failure, ArithmeticError)


def test_what_is_done_meanwhile_delays_no_message_and_ends_the_node_where_it_fails(
    probe, make, publish
):
    read, parts = [], []

    def meanwhile() -> float:
        parts.append(len(read))
        if len(read) == 50:
            raise ArithmeticError("two and two is five")
        return 0.0

    node = make(lambda message: read.append(message.data))
    node.reading.meanwhile = meanwhile
    node.reading.start()
    probe.wait(lambda: parts.count(0) > 1, what="again and again while nothing came")
    publish("fast", *range(50))
    probe.wait(node.finished.is_set)
    assert isinstance(node.failure, ArithmeticError)
    assert read == list(range(50))
