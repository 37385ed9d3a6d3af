"""Serve the page on 127.0.0.1: files by HTTP, frames and commands by a websocket.

Every client is served by tasks of its own, which always send the newest frame. A client that does
not read misses frames; it delays nobody, and nothing is queued for it. Websockets of other sites
are refused, by the headers Host and Origin.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from sql_ros.common.errors import ConfigError

ADDRESS = "127.0.0.1"  # other computers connect by ssh -L
PORTS = range(8765, 8785)  # the first free one is taken
STATIC = Path(__file__).parent / "static"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
PERIOD_S = 0.05  # between two frames
FULL_EVERY = 4  # of so many frames one has the status, too
MOST_CLIENTS = 20
STOP = '"stop"'  # in every request to stop
MOST_MESSAGES = 20  # of one client in a second: more are none of an operator
LONGEST_MESSAGE = 4096  # bytes
LOCAL_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")
SECURITY = "default-src 'self'; connect-src 'self'; frame-ancestors 'none'"


class PageServer:
    """HTTP and websocket server of one page.

    Args:
        frame: Returns the text of a frame; its argument says whether with the status. Called in
            the server's thread.
        on_message: Called in the server's thread with the text of each message of a client. It must
            not block.
        scene: Bytes that are served as `/scene`.

    Attributes:
        address: Address for a browser; empty before `bind`.
        clients: Number of open websockets.
    """

    def __init__(
        self, frame: Callable[[bool], str], on_message: Callable[[str], None], scene: bytes
    ) -> None:
        self._frame = frame
        self._on_message = on_message
        self._scene = scene
        self._made: dict[bool, tuple[float, str]] = {}  # newest frames: steady time [s], text
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()
        self._is_closed = False
        self._socket: socket.socket | None = None
        self._failure: Exception | None = None  # of a frame
        self.address = ""
        self.clients = 0

    def bind(self) -> None:
        """Take the first free port of `PORTS`.

        Raises:
            ConfigError: None is free.
        """
        for port in PORTS:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((ADDRESS, port))
                listener.listen()
            except OSError:
                listener.close()
                continue
            self._socket = listener
            self.address = f"http://{ADDRESS}:{port}"
            return
        raise ConfigError(
            f"the page found no free port from {PORTS.start} to {PORTS.stop - 1} on {ADDRESS}"
        )

    def run(self) -> None:
        """Serve until `close`. Call `bind` first.

        Raises:
            Exception: No frame can be made.
        """
        asyncio.run(self._serve())
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End `run`, also one that begins later. May be called from any thread."""
        self._is_closed = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._ending.set)

    async def _serve(self) -> None:
        """Serve clients until `close`."""
        logging.getLogger("websockets").setLevel(logging.CRITICAL)  # clients come and go
        self._loop = asyncio.get_running_loop()
        if self._is_closed:  # since then `close` reaches the loop
            self._ending.set()
        server: Server
        async with serve(
            self._converse,
            sock=self._socket,
            process_request=self._answer,
            compression=None,
            max_size=LONGEST_MESSAGE,
            max_queue=4,
            close_timeout=1.0,
        ) as server:
            await self._ending.wait()
            server.close(close_connections=True)

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a request for a file; return None for a websocket that is accepted.

        Args:
            connection: Its connection.
            request: Path and headers.
        """
        host = request.headers.get("Host", "")
        if not LOCAL_HOST.fullmatch(host):
            return connection.respond(HTTPStatus.FORBIDDEN, "this page is for 127.0.0.1 only\n")
        path = request.path.partition("?")[0]
        if path == "/ws":
            if request.headers.get("Origin", f"http://{host}") != f"http://{host}":
                return connection.respond(HTTPStatus.FORBIDDEN, "not from this page\n")
            if self.clients >= MOST_CLIENTS:
                text = f"the page has {MOST_CLIENTS} clients already\n"
                return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, text)
            return None
        if path == "/scene":
            return _response(self._scene, "application/octet-stream")
        file = STATIC / ("index.html" if path == "/" else path[1:])
        if file.parent == STATIC and file.is_file() and file.suffix in TYPES:
            return _response(file.read_bytes(), f"{TYPES[file.suffix]}; charset=utf-8")
        return connection.respond(HTTPStatus.NOT_FOUND, "no such file\n")

    async def _converse(self, connection: ServerConnection) -> None:
        """Send frames to a client, and take its messages, until it leaves.

        Of a client that sends more than `MOST_MESSAGES` in a second, the others of that second are
        dropped, unless they may ask for a stop.

        Args:
            connection: Its websocket.
        """
        self.clients += 1
        sending = asyncio.create_task(self._send_frames(connection))
        second, count = 0, 0
        try:
            async for message in connection:
                text = message if isinstance(message, str) else ""
                now = int(time.monotonic())
                if now != second:
                    count = 0
                second = now
                count += 1
                if count <= MOST_MESSAGES or STOP in text:
                    self._on_message(text)
        finally:
            self.clients -= 1
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending

    async def _send_frames(self, connection: ServerConnection) -> None:
        """Send the newest frame to a client each `PERIOD_S`, or as fast as it reads.

        Args:
            connection: Its websocket.
        """
        number = 0
        with contextlib.suppress(ConnectionClosed):
            while True:
                try:
                    frame = self._newest(number % FULL_EVERY == 0)
                except Exception as error:
                    self._failure = error
                    self._ending.set()
                    return
                await connection.send(frame)
                number += 1
                await asyncio.sleep(PERIOD_S)

    def _newest(self, is_full: bool) -> str:
        """Return the text of a frame that all clients of this moment share.

        Args:
            is_full: Whether with the status.
        """
        now = time.monotonic()
        made, text = self._made.get(is_full, (0.0, ""))
        if now - made > 0.5 * PERIOD_S:
            text = self._frame(is_full)
            self._made[is_full] = (now, text)
        return text


def _response(body: bytes, kind: str) -> Response:
    """Return a response of HTTP with a file.

    Args:
        body: Content of the file.
        kind: Its media type.
    """
    headers = Headers(
        {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": SECURITY,
            "X-Content-Type-Options": "nosniff",
            "Connection": "close",
        }
    )
    return Response(200, "OK", headers, body)
