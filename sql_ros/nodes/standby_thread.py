"""The standby thread: brake the arm while the control loop sends no command in time.

`robot/safety/standby.py` decides when, and computes the commands.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

from sql_ros.nodes.adapters import Adapter, CommandEncoder
from sql_ros.nodes.arm_link import ArmLink
from sql_ros.nodes.command_output import CommandOutput
from sql_ros.nodes.process import NodeThread
from sql_ros.nodes.state_intake import StateIntake
from sql_ros.robot.control.realtime import raise_priority
from sql_ros.robot.safety.standby import Standby


class StandbyThread:
    """Publishes the commands of `output.standby` in a thread. Without a standby there is no thread.

    Args:
        node: The actor node. An exception in the thread ends it.
        output: Output of the control loop; gives the standby and the publisher.
        adapter: Converts commands to messages.
        states: Intake of states; a command answers the newest state.
        link: Link to the arm, which sends heartbeats to the command watchdog.
    """

    def __init__(
        self,
        node: Any,
        output: CommandOutput,
        adapter: Adapter,
        states: StateIntake,
        link: ArmLink,
    ) -> None:
        self._node = node
        self._standby = output.standby
        self._publisher = output.publisher
        # the loop has its own: an encoder serves one thread
        self._command_encoder = CommandEncoder(adapter)
        self._states = states
        self._link = link
        self._is_over = threading.Event()
        self._thread: NodeThread | None = None

    def start(self) -> None:
        """Start the thread, if there is a standby."""
        self._is_over.clear()
        if self._standby is not None:
            body = partial(self._run, self._standby)
            self._thread = NodeThread(self._node, body, "standby")
            self._thread.start()

    def finish(self) -> None:
        """End the thread, and wait for its end."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, standby: Standby) -> None:
        """Body of the thread until `finish`, at a higher priority than the control loop: sleep
        until the standby may have to send, then publish its command, if there is one.

        While a command still moves the arm, a heartbeat is sent to the command watchdog.

        Args:
            standby: Decides when to send, and computes the commands.
        """
        raise_priority()
        while not self._is_over.wait(standby.wait_s(time.monotonic())):
            now = time.monotonic()
            velocity = standby.advance(now)
            state = self._states.newest
            if velocity is None or state is None:
                continue
            self._publisher.publish(self._command_encoder.encode(velocity, state.stamp_ns))
            if standby.is_braking:
                self._link.beat(now)
