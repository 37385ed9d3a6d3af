"""The server of the page: files, websockets that stall, and what no operator sends."""

import contextlib
import json
import re
import socket
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from sql_ros.page import server as module
from sql_ros.page.server import PageServer

PADDING = "x" * 300_000  # makes a stalled client's buffers full soon: 6 MB/s


class Served:
    """A running server, with what it was told."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.server = PageServer(self._frame, self.heard.append, b"scene")
        self.server.bind()
        self._thread = threading.Thread(target=self.server.run)
        self._thread.start()
        self.host = self.server.address.removeprefix("http://")

    def _frame(self, is_full: bool) -> str:
        return json.dumps({"t": time.monotonic(), "full": is_full, "padding": PADDING})

    def get(self, path: str, host: str = "") -> tuple[int, bytes]:
        connection = HTTPConnection(self.host, timeout=10)
        connection.request("GET", path, headers={"Host": host or self.host})
        response = connection.getresponse()
        return response.status, response.read()

    def connect(self, **options):
        return connect(f"ws://{self.host}/ws", compression=None, **options)

    def close(self) -> None:
        self.server.close()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def served():
    running = Served()
    yield running
    running.close()


def test_page_script_style_and_scene_are_served(served):
    status, page = served.get("/")
    assert (status, b'<button id="stop"' in page) == (200, True)
    for path in ("/page.js", "/view.js", "/style.css"):
        assert served.get(path)[0] == 200
    assert served.get("/scene") == (200, b"scene")


@pytest.mark.parametrize("path", ["/../server.py", "/..%2fserver.py", "//etc/passwd", "/static"])
def test_no_other_file_is_served(served, path):
    assert served.get(path)[0] == 404


def test_another_site_is_refused(served):
    """A page of another site, also one whose name leads to this computer."""
    assert served.get("/", host="evil.example:80")[0] == 403
    with pytest.raises(InvalidStatus, match="403"):
        served.connect(origin="http://evil.example")
    with pytest.raises(InvalidStatus, match="403"):
        served.connect(origin="http://127.0.0.1:1")
    with served.connect(origin=f"http://{served.host}") as client:
        assert json.loads(client.recv())["full"] is True


def test_it_listens_on_this_computer_only(served):
    port = int(served.host.rpartition(":")[2])
    with socket.socket() as other:
        other.settimeout(2.0)
        with pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.2", port))


def test_a_server_that_is_closed_before_it_runs_ends_at_once():
    server = PageServer(lambda is_full: "", print, b"")
    server.bind()
    server.close()
    thread = threading.Thread(target=server.run)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


def test_two_pages_have_two_ports(served):
    second = Served()
    assert second.host != served.host
    second.close()


def _stalled(served) -> socket.socket:
    """A websocket that is open, and whose client never reads."""
    host, port = served.host.split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((host, int(port)))
    client.sendall(
        f"GET /ws HTTP/1.1\r\nHost: {served.host}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return client


def _memory_mib() -> float:
    """Return the resident memory of this process."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def _longest_gap(client, seconds: float) -> float:
    """Return the longest time between two frames, and check that the newest ones come."""
    last, longest, end = time.monotonic(), 0.0, time.monotonic() + seconds
    while last < end:
        frame = json.loads(client.recv(timeout=10))
        now = time.monotonic()
        longest = max(longest, now - last)
        last = now
    assert last - frame["t"] < 1.0
    return longest


def test_stalled_clients_delay_nobody_and_nothing_is_queued_for_them(served):
    with served.connect() as client:
        _longest_gap(client, 0.5)
    before = _memory_mib()
    stalled = [_stalled(served) for _ in range(9)]
    try:
        with served.connect() as client:
            assert _longest_gap(client, 3.0) < 1.0
            assert served.server.clients == 10
            client.send("stop")
            deadline = time.monotonic() + 5.0
            while not served.heard and time.monotonic() < deadline:
                client.recv(timeout=5)
            assert served.heard == ["stop"]
        # 160 MB were made for them meanwhile
        assert _memory_mib() - before < 60.0
    finally:
        for client in stalled:
            client.close()


def test_a_client_too_many_is_refused(served, monkeypatch):
    monkeypatch.setattr(module, "MOST_CLIENTS", 2)
    with served.connect() as one, served.connect() as two:
        assert one.recv()
        assert two.recv()
        with pytest.raises(InvalidStatus, match="503"):
            served.connect()
        assert served.get("/")[0] == 200


def test_a_server_that_can_make_no_frame_ends_with_the_error():
    failures: list[Exception] = []

    def frame(is_full: bool) -> str:
        raise ValueError("no frame")

    server = PageServer(frame, print, b"")
    server.bind()

    def run() -> None:
        try:
            server.run()
        except ValueError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    with connect(server.address.replace("http", "ws") + "/ws") as client:
        _await_end(client)
    thread.join(20)
    assert [str(error) for error in failures] == ["no frame"]


def _await_end(client) -> None:
    """Read frames until the server closes the websocket."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            client.recv(timeout=10)


def _await(condition) -> None:
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_of_a_flood_of_messages_only_stops_are_heard(served):
    """With spaces too, as other programs write JSON."""
    with served.connect() as calm, served.connect() as flood:
        for _ in range(3 * module.MOST_MESSAGES):
            flood.send('{"do":"start","seen":0}')
        flood.send('{"do": "stop"}')
        _await(lambda: '{"do": "stop"}' in served.heard)
        assert len(served.heard) <= 2 * module.MOST_MESSAGES + 1  # a second may end meanwhile
        calm.send('{"do":"goal"}')
        _await(lambda: '{"do":"goal"}' in served.heard)
        served.heard.clear()
        for _ in range(3 * module.MOST_MESSAGES):
            calm.send('{"do":"stop"}')
        _await(lambda: len(served.heard) == 3 * module.MOST_MESSAGES)
        calm.send("x" * (module.LONGEST_MESSAGE + 1))
        _await_end(calm)
