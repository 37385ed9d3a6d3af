"""The command watchdog: a small process that stops the arm when its actor cannot.

A controller that forwards commands repeats the last one for ever. When the actor is killed,
suspended or stalled, this process publishes zeros on the actor's command topic.
`robot/safety/command_timeout.py` decides when, from the heartbeats of the actor.

The actor starts the process and is connected to it by two pipes:

======================  ===========================================================================
direction               words
======================  ===========================================================================
actor to this process   `BEAT`: a command was sent; `REST`: the arm rests; `PROVE`: prove that the
                        controller receives this process, while the arm is held
this process to actor   first the GID of its publisher (`encode_gid`); then an answer to every read
                        of words: `READY` once the controller has acknowledged a zero command
                        (`proof.py`), `UNREADY` before
======================  ===========================================================================

The answers tell the actor that this process does not hang. The process is in a session (POSIX) of
its own and ignores the signals that end a stack. It ends when the actor's pipe is closed. Its
output never blocks (`common/output.py`).
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
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float64MultiArray

from sql_ros.common.output import OUTPUT
from sql_ros.nodes.ending import ENDS, FAULTS, STOPS
from sql_ros.nodes.endpoint_names import identified_publisher
from sql_ros.nodes.proof import Proof
from sql_ros.nodes.qos import RELIABLE
from sql_ros.robot.safety.command_timeout import PROVE, HeartbeatMonitor, MonitorPhase

READY = b"1"
UNREADY = b"0"
LETTERS = b"abcdefghijklmnop"  # digits of an encoded GID; the answers are other characters


def encode_gid(gid: bytes) -> bytes:
    """Return the GID of a publisher as two letters of `LETTERS` per byte."""
    return bytes(LETTERS[half] for byte in gid for half in divmod(byte, 16))


class CommandWatchdog:
    """Publishes zero commands when its `HeartbeatMonitor` says so.

    The constructor creates the publisher and writes its GID to the actor.

    Args:
        node: Node of this process.
        topic: Command topic.
        count: Number of values in a command.
        timeout_s: Longest time between two beats of a working control loop [s].
        gaps: Number of gaps between beats by which that time is longer, see `SilenceLimit`.
        read_fd: File descriptor from which the actor's words are read.
        write_fd: File descriptor to which the answers are written; it must not block.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        count: int,
        timeout_s: float,
        gaps: float,
        read_fd: int,
        write_fd: int,
    ) -> None:
        self._node = node
        self._topic = topic
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._publisher: Publisher
        self._publisher, gid = identified_publisher(node, Float64MultiArray, topic, RELIABLE)
        self._write(encode_gid(gid))
        self._zeros = Float64MultiArray(data=array.array("d", bytes(8 * count)))
        self._monitor = HeartbeatMonitor(timeout_s, gaps)
        self._proof = Proof(node, self._publisher, self._zeros)

    def watch(self) -> None:
        """Publish zeros while the monitor asks for them; otherwise keep up the proof that zeros
        would arrive. Log an error when zeros begin.

        Return when the actor's pipe is closed and, if the arm was not at rest, zeros have been
        published for `ORPHAN_S` after that.
        """
        monitor = self._monitor
        while monitor.phase is not MonitorPhase.ENDED:
            before = monitor.phase
            words = self._read_words()
            if monitor.sends_zeros:
                self._publisher.publish(self._zeros)
            else:
                self._prove(words)
            if monitor.phase is not before and monitor.sends_zeros:
                what = f"the actor is {_actor_condition(monitor)}: zeros to {self._topic}"
                self._node.get_logger().error(what)

    def _read_words(self) -> bytes:
        """Wait for words of the actor, at most until the phase would change without any; update
        the monitor.

        Returns:
            The words; empty if none came, or if the pipe is closed.
        """
        monitor = self._monitor
        now = time.monotonic()
        words = b""
        if monitor.phase is MonitorPhase.ORPHANED:
            time.sleep(monitor.wait_s(now))  # a closed pipe would end `select` at once
        elif select.select([self._read_fd], [], [], monitor.wait_s(now))[0]:
            words = os.read(self._read_fd, 4096)
            if not words or words.strip(PROVE):
                monitor.heard(words.strip(PROVE), time.monotonic())
        monitor.pass_time(time.monotonic())
        return words

    def _prove(self, words: bytes) -> None:
        """Update the proof, and write `READY` or `UNREADY` to the actor.

        The answer is written after every read of words, and whenever the proof is given or lost.

        Args:
            words: Words of the actor, with `PROVE` if a zero is to be sent; empty if none came.
        """
        proof = self._proof
        was_given = self._proof.is_given
        if PROVE in words:
            proof.publish_zeros()
        proof.update(time.monotonic())
        if words or proof.is_given is not was_given:
            self._write(READY if proof.is_given else UNREADY)

    def _write(self, word: bytes) -> None:
        """Write a word to the actor; drop it if the actor has ended or does not read."""
        try:
            os.write(self._write_fd, word)
        except (BrokenPipeError, BlockingIOError):
            return


def _actor_condition(monitor: HeartbeatMonitor) -> str:
    """Return the condition of the actor for the log: "dead" or "silent"."""
    return "dead" if monitor.phase is MonitorPhase.ORPHANED else "silent"


def main() -> int:
    """Run the process until its actor has ended, see `CommandWatchdog.watch`. Signals are ignored.

    Its arguments, before those of ROS, are the Args of `CommandWatchdog` from `topic` on.

    Returns:
        The exit code 0.
    """
    # a crash ends the process nevertheless
    for number in ENDS | STOPS | FAULTS | {signal.SIGPIPE}:
        signal.signal(number, signal.SIG_IGN)
    OUTPUT.redirect()
    topic, count, timeout_s, gaps, read_fd, write_fd = sys.argv[1:7]
    os.set_blocking(int(write_fd), False)
    rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("command_watchdog", start_parameter_services=False)
    try:
        CommandWatchdog(
            node, topic, int(count), float(timeout_s), float(gaps), int(read_fd), int(write_fd)
        ).watch()
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
