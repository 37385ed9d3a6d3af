"""A small process that stops the arm when its actor cannot: started by the actor, ends with it.

A controller that forwards commands keeps the last one for ever. When the actor was killed, stopped or
stalls, this process sends zeros on its command topic; see `robot/vigil.py` for when. It hears the actor
through one pipe and answers through another. Asked to `PROVE` that the controller hears it, while the
actor holds the arm, it sends one zero command and says `READY` once that is acknowledged: a publisher
may know a subscriber that does not know it yet. Its session is its own, and signals that end a stack
leave it alone: it ends when the actor's pipe does.
"""

from __future__ import annotations

import array
import os
import select
import signal
import sys
import time

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float64MultiArray

from sql_ros.nodes.qos import RELIABLE
from sql_ros.robot.vigil import PROVE, Phase, Vigil

READY, UNREADY = b"1", b"0"
ANSWER_S = 0.05  # for which an acknowledgement is waited for in one go


class CommandWatchdog:
    """Publishes zeros as its `Vigil` decides.

    Args:
        node: Publishes.
        topic: Of commands.
        count: Values of a command.
        timeout_s: See `Vigil`.
        hears: File descriptor of what the actor says.
        tells: File descriptor of what the actor is told.
    """

    def __init__(self, node: Node, topic: str, count: int, timeout_s: float, hears: int, tells: int) -> None:
        self._node, self._topic, self._hears, self._tells = node, topic, hears, tells
        self._publisher: Publisher = node.create_publisher(Float64MultiArray, topic, RELIABLE)
        self._zeros = Float64MultiArray(data=array.array("d", bytes(8 * count)))
        self._vigil = Vigil(timeout_s)
        self._is_proving = self._is_ready = False

    def watch(self) -> None:
        """Run until the actor's pipe ends."""
        vigil = self._vigil
        while vigil.phase is not Phase.ENDED:
            before = vigil.phase
            self._listen()
            if vigil.sends_zeros:
                self._publisher.publish(self._zeros)
            if vigil.phase is not before and vigil.sends_zeros:
                what = f"the actor is {_what_it_is(vigil)}: zeros to {self._topic}"
                self._node.get_logger().error(what)
            self._prove()

    def _listen(self) -> None:
        """Wait for the actor's words, no longer than something changes without them."""
        vigil, now = self._vigil, time.monotonic()
        if vigil.phase is Phase.ORPHANED:
            time.sleep(vigil.wait_s(now))  # the pipe has ended and is ready all the time
        elif select.select([self._hears], [], [], vigil.wait_s(now))[0]:
            words = os.read(self._hears, 4096)
            if PROVE in words:
                self._is_proving = True
                self._publisher.publish(self._zeros)
            if not words or words.strip(PROVE):
                vigil.heard(words.strip(PROVE), time.monotonic())
        vigil.pass_time(time.monotonic())

    def _prove(self) -> None:
        """Say whether the controller hears zeros, as that changes."""
        is_matched = self._publisher.get_subscription_count() > 0
        if self._is_ready and not is_matched:
            self._is_ready = False
            self._tell(UNREADY)
        if self._is_proving and is_matched and self._is_acknowledged():
            self._is_proving, self._is_ready = False, True
            self._tell(READY)

    def _is_acknowledged(self) -> bool:
        return bool(self._publisher.wait_for_all_acked(Duration(seconds=ANSWER_S)))

    def _tell(self, word: bytes) -> None:
        try:
            os.write(self._tells, word)
        except BrokenPipeError:  # the actor has ended: its own pipe says so next
            return


def _what_it_is(vigil: Vigil) -> str:
    return "dead" if vigil.phase is Phase.ORPHANED else "silent"


def main() -> int:
    """Entry point of the process: topic, count, timeout and both pipes, then ROS arguments."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    topic, count, timeout_s, hears, tells = sys.argv[1:6]
    rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("command_watchdog", start_parameter_services=False)
    try:
        CommandWatchdog(node, topic, int(count), float(timeout_s), int(hears), int(tells)).watch()
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
