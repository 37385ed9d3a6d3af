"""A small process that stops the arm when its actor cannot: started by the actor, ends with it.

A controller that forwards commands keeps the last one for ever. When the actor was killed, stopped or
stalls, this process sends zeros on its command topic; see `robot/vigil.py` for when. It hears the actor
through one pipe and tells it through another whether a controller takes its commands (`MATCHED`). Its
session is its own, and signals that end a stack leave it alone: it ends when the actor's pipe does.
"""

from __future__ import annotations

import array
import os
import select
import signal
import sys
import time

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float64MultiArray

from sql_ros.nodes.qos import RELIABLE
from sql_ros.robot.vigil import Phase, Vigil

MATCHED, UNMATCHED = b"1", b"0"


def watch(node: Node, topic: str, count: int, timeout_s: float, hears: int, tells: int) -> None:
    """Run until the actor's pipe ends.

    Args:
        node: Publishes zeros.
        topic: Of commands.
        count: Values of a command.
        timeout_s: See `Vigil`.
        hears: File descriptor of what the actor says.
        tells: File descriptor of what the actor is told.
    """
    publisher = node.create_publisher(Float64MultiArray, topic, RELIABLE)
    zeros = Float64MultiArray(data=array.array("d", bytes(8 * count)))
    vigil, was_matched = Vigil(timeout_s), False
    while vigil.phase is not Phase.ENDED:
        is_matched = publisher.get_subscription_count() > 0
        if is_matched != was_matched:
            _tell(tells, MATCHED if is_matched else UNMATCHED)
            was_matched = is_matched
        before = vigil.phase
        _listen(vigil, hears)
        if vigil.sends_zeros:
            publisher.publish(zeros)
        if vigil.phase is not before and vigil.sends_zeros:
            node.get_logger().error(f"the actor is {_what_it_is(vigil)}: zeros to {topic}")


def _listen(vigil: Vigil, hears: int) -> None:
    """Wait for the actor's words, no longer than something changes without them."""
    wait_s = vigil.wait_s(time.monotonic())
    if vigil.phase is Phase.ORPHANED:
        time.sleep(wait_s)  # the pipe has ended and is ready all the time
    elif select.select([hears], [], [], wait_s)[0]:
        vigil.heard(os.read(hears, 4096), time.monotonic())
    vigil.pass_time(time.monotonic())


def _what_it_is(vigil: Vigil) -> str:
    return "dead" if vigil.phase is Phase.ORPHANED else "silent"


def _tell(tells: int, word: bytes) -> None:
    try:
        os.write(tells, word)
    except BrokenPipeError:  # the actor has ended: its own pipe says so next
        return


def main() -> int:
    """Entry point of the process: topic, count, timeout and both pipes, then ROS arguments."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    topic, count, timeout_s, hears, tells = sys.argv[1:6]
    rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("command_watchdog", start_parameter_services=False)
    try:
        watch(node, topic, int(count), float(timeout_s), int(hears), int(tells))
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
