"""A small process that stops the arm when its actor cannot: started by the actor, ends with it.

A controller that forwards commands keeps the last one for ever. When the actor was killed, stopped or
stalls, this process sends zeros on its command topic; see `robot/vigil.py` for when. It hears the actor
through one pipe and answers every word through another, so that the actor notices when it hangs. The
answer is `READY` once the controller has acknowledged a zero command (`proof.py`); the zero is sent when
the actor, which holds the arm meanwhile, says `PROVE`. Its session is its own, and signals that end a
stack leave it alone: it ends when the actor's pipe does. Nothing it writes can block it.
"""

from __future__ import annotations

import array
import os
import select
import signal
import sys
import threading
import time

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float64MultiArray

from sql_ros.nodes.proof import Proof
from sql_ros.nodes.qos import RELIABLE
from sql_ros.robot.vigil import PROVE, Phase, Vigil

READY, UNREADY = b"1", b"0"


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
        self._proof = Proof(node, self._publisher, self._zeros)

    def watch(self) -> None:
        """Run until the actor's pipe ends."""
        vigil = self._vigil
        while vigil.phase is not Phase.ENDED:
            before = vigil.phase
            words = self._listen()
            if vigil.sends_zeros:
                self._publisher.publish(self._zeros)
            else:
                self._prove(words)
            if vigil.phase is not before and vigil.sends_zeros:
                what = f"the actor is {_what_it_is(vigil)}: zeros to {self._topic}"
                self._node.get_logger().error(what)

    def _listen(self) -> bytes:
        """Wait for the actor's words, no longer than something changes without them."""
        vigil, now, words = self._vigil, time.monotonic(), b""
        if vigil.phase is Phase.ORPHANED:
            time.sleep(vigil.wait_s(now))  # the pipe has ended and is ready all the time
        elif select.select([self._hears], [], [], vigil.wait_s(now))[0]:
            words = os.read(self._hears, 4096)
            if not words or words.strip(PROVE):
                vigil.heard(words.strip(PROVE), time.monotonic())
        vigil.pass_time(time.monotonic())
        return words

    def _prove(self, words: bytes) -> None:
        """Answer the actor; say by itself when the controller hears zeros, or no longer does."""
        proof, was_given = self._proof, self._proof.is_given
        if PROVE in words:
            proof.seek()
        proof.look(time.monotonic())
        if words or proof.is_given is not was_given:
            self._tell(READY if proof.is_given else UNREADY)

    def _tell(self, word: bytes) -> None:
        try:
            os.write(self._tells, word)
        except (BrokenPipeError, BlockingIOError):  # it has ended, or reads nothing: its silence says so
            return


def _what_it_is(vigil: Vigil) -> str:
    return "dead" if vigil.phase is Phase.ORPHANED else "silent"


def unblock_output() -> None:
    """Relay stdout and stderr through a pipe that never blocks: what does not fit is dropped.

    A terminal that was stopped (Ctrl-S) or a pipe that nobody reads would stop the zeros. The relay
    waits for it in a thread of its own; what it inherited is shared with the actor and stays as it is.
    """
    output = os.dup(2)
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    os.dup2(writes, 1)
    os.dup2(writes, 2)
    os.close(writes)
    threading.Thread(target=_relay, args=(reads, output), name="output", daemon=True).start()


def _relay(source: int, target: int) -> None:
    while words := os.read(source, 4096):
        try:
            os.write(target, words)
        except OSError:  # the terminal is gone
            continue


def main() -> int:
    """Entry point of the process: topic, count, timeout and both pipes, then ROS arguments."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    unblock_output()
    topic, count, timeout_s, hears, tells = sys.argv[1:6]
    os.set_blocking(int(tells), False)
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
