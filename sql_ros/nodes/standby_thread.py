"""The thread that brakes the arm while the control loop sends nothing in time.

`robot/safety/standby.py` decides when and how.
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
from sql_ros.robot.control.realtime import step_ahead
from sql_ros.robot.safety.standby import Standby


class StandbyThread:
    """Publish the commands of the `Standby` of an output; without one there is no thread.

    Args:
        node: Ends when the thread fails.
        output: Has the standby and the publisher of the commands.
        adapter: Converts them to messages.
        states: Has the state that a command answers.
        link: The way to the arm.
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
        """End the thread and wait for it."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, standby: Standby) -> None:
        """Body of the thread: sleep until a command is due, and send it."""
        step_ahead()
        while not self._is_over.wait(standby.wait_s(time.monotonic())):
            now = time.monotonic()
            velocity = standby.advance(now)
            state = self._states.newest
            if velocity is None or state is None:
                continue
            self._publisher.publish(self._command_encoder.encode(velocity, state.stamp_ns))
            if standby.is_braking:
                self._link.beat(now)
