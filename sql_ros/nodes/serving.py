"""Serves the services that stop or move the arm, in a thread of its own.

rclpy's executor does one thing after the other. A stop would wait for diagnostics, a large policy
or another service. A response that waits for the arm would delay everything else. rclpy has no
public class for a response that follows later, and its executor does not tell when a request was
sent. CONTRIBUTING.md lists the private interfaces used here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode

from sql_ros.nodes.process import NodeThread, Runnable
from sql_ros.nodes.reading import ExcludedFromExecutor

LONGEST_WAIT_S = 0.05  # between two checks whether the thread is to end
POLL_S = 0.005  # between two checks whether a response is known

Responder = Callable[[], Any]  # returns the response; None: not known yet


class Serving:
    """Serves requests of one node, whose responses may follow later.

    Args:
        node: Owner of the services. An exception in a callback ends it.

    Attributes:
        source_ns: When the request whose `begin` runs was sent, by the clock of its client [ns]; 0
            where the middleware does not tell it.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._services: list[tuple[Any, Callable[[], Responder]]] = []
        self._ended = threading.Event()
        self._thread: NodeThread | None = None
        self.source_ns = 0

    def serve(self, kind: Any, name: str, begin: Callable[[], Responder]) -> None:
        """Create a service; call it before `start`.

        Args:
            kind: Service type.
            name: Service name.
            begin: Called when a request arrives. It acts at once, and returns a function that
                returns the response, or None while that is not known.
        """
        service = self._node.create_service(
            kind, name, _never_called, callback_group=ExcludedFromExecutor()
        )
        self._services.append((service, begin))

    def start(self) -> None:
        """Start the thread, if there is a service."""
        self._ended.clear()
        if self._services:
            runnable: Runnable = self._node
            self._thread = NodeThread(runnable, self._serve, "serving")
            self._thread.start()

    def stop(self) -> None:
        """End the thread. The node destroys the services."""
        self._ended.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None
        self._services.clear()

    def _serve(self) -> None:
        """Body of the thread: take requests, and send the responses that are known."""
        services = list(self._services)
        context = self._node.context.handle
        pending: list[tuple[Any, Any, Responder]] = []
        with context:
            waits = rclpy_implementation.WaitSet(0, 0, 0, 0, len(services), 0, context)
            while not self._ended.is_set():
                waits.clear_entities()
                for service, _ in services:
                    waits.add_service(service.handle)
                waits.wait(int(1e9 * (POLL_S if pending else LONGEST_WAIT_S)))
                ready = waits.get_ready_entities("service")
                for service, begin in services:
                    header = self._take(service) if service.handle.pointer in ready else None
                    if header is not None:
                        self.source_ns = header.source_timestamp or 0
                        pending.append((service, header, begin()))
                pending = [each for each in pending if not _responded(*each)]

    def _take(self, service: Any) -> Any:
        """Return the header of a request; None if there is none.

        Bytes that are no request are reported to the node.
        """
        try:
            with service.handle:
                return service.handle.service_take_request(service.srv_type.Request)[1]
        except (rclpy_implementation.RCLError, UnicodeDecodeError, MemoryError) as error:
            runnable: Runnable = self._node
            runnable.bad_input(f"{service.srv_name} has bytes that are no request: {error}")
            return None


def _responded(service: Any, header: Any, answer: Responder) -> bool:
    """Send the response, if it is known; return whether the request is done."""
    response = answer()
    if response is None:
        return False
    try:
        service.send_response(response, header)
    except rclpy_implementation.RCLError:  # the client has gone
        return True
    return True


def _never_called(request: Any, response: Any) -> Any:
    """Return the response unchanged. rclpy needs a callback, which its executor never calls."""
    return response
