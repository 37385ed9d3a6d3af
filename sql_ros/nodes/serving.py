"""Serve the services that stop or move the arm, in a thread of its own.

In rclpy's executor a request to stop would wait for diagnostics, a large policy or another service,
and a response that waits for the arm would delay everything else. rclpy has no public class for a
response that is sent later, and its executor does not provide the time at which a request was sent.
CONTRIBUTING.md lists the private interfaces used here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode

from sql_ros.nodes.process import NodeThread, Runnable
from sql_ros.nodes.reading import ExcludedFromExecutor

LONGEST_WAIT_S = 0.05  # longest time between two checks whether the thread is to end
POLL_S = 0.005  # time between two calls of a responder

Responder = Callable[[], Any]  # called until it returns the response; None: not known yet


class ServiceThread:
    """Serves services of one node in one thread; responses may be sent later.

    Args:
        node: Node of the services. An exception in a callback ends the node.

    Attributes:
        source_ns: Time at which the request whose `begin` runs was sent, by the clock of its client
            [ns]; 0 if the middleware does not provide it.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._services: list[tuple[Any, Callable[[], Responder]]] = []
        self._ended = threading.Event()
        self._thread: NodeThread | None = None
        self.source_ns = 0

    def serve(self, kind: Any, name: str, begin: Callable[[], Responder]) -> None:
        """Create a service. Call it before `start`.

        Args:
            kind: Service class.
            name: Service name, not resolved.
            begin: Called in the thread when a request arrives. It acts at once, and returns a
                `Responder`, which is called every `POLL_S` until it returns the response.
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
        """End the thread and forget the services, which the node destroys. Requests without a
        response so far get none.
        """
        self._ended.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None
        self._services.clear()

    def _serve(self) -> None:
        """Body of the thread until `stop`: take requests, call their `begin` at once, and call
        every pending responder until it returns the response, which is then sent.
        """
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
        """Take the next request of a service.

        Returns:
            The header of the request; None if there is none, or if the bytes are no request, which
            is reported to the node.
        """
        try:
            with service.handle:
                return service.handle.service_take_request(service.srv_type.Request)[1]
        except (rclpy_implementation.RCLError, UnicodeDecodeError, MemoryError) as error:
            runnable: Runnable = self._node
            runnable.bad_input(f"{service.srv_name} has bytes that are no request: {error}")
            return None


def _responded(service: Any, header: Any, answer: Responder) -> bool:
    """Send the response of a request, if it is known.

    Args:
        service: The service.
        header: Header of the request.
        answer: Returns the response; None: not known yet.

    Returns:
        Whether the request is done: the response was sent, or the client has gone.
    """
    response = answer()
    if response is None:
        return False
    try:
        service.send_response(response, header)
    except rclpy_implementation.RCLError:  # the client has gone
        return True
    return True


def _never_called(request: Any, response: Any) -> Any:
    """Return the response unchanged. rclpy requires a callback, but its executor never calls it."""
    return response
