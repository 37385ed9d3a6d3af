"""A headless Chromium for tests of the page, driven by its debugging protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from websockets.sync.client import connect

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
NOT_RUN = "not run: there is no Chromium (apt install chromium)"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
    "--use-angle=swiftshader",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)


class Browser:
    """One page in a Chromium of its own.

    Args:
        address: Page to open.
        folder: Empty folder for the profile of the browser.
        size: Width and height of the window [px].
    """

    def __init__(self, address: str, folder: Path, size: tuple[int, int] = (1440, 900)) -> None:
        assert CHROMIUM is not None, NOT_RUN
        self._log = (folder / "chromium.log").open("wb")
        self._process = subprocess.Popen(
            [
                CHROMIUM,
                *FLAGS,
                f"--user-data-dir={folder / 'profile'}",
                f"--window-size={size[0]},{size[1]}",
                "about:blank",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        port_file = folder / "profile" / "DevToolsActivePort"
        self._await(lambda: port_file.is_file() and port_file.read_text().count("\n"))
        port = port_file.read_text().splitlines()[0]
        new = Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
        with urlopen(new, timeout=30) as answer:
            target = json.load(answer)["webSocketDebuggerUrl"]
        self._open = contextlib.ExitStack()
        self._socket = self._open.enter_context(connect(target, max_size=None, compression=None))
        self._number = 0
        self.errors: list[str] = []
        self.call("Runtime.enable")
        self.call("Page.enable")
        view = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **view)
        self.call("Page.navigate", url=address)
        self.until("location.href !== 'about:blank' && document.readyState === 'complete'")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result. Exceptions of the page are kept."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(message["params"]["exceptionDetails"])[:600])
            if message.get("id") == self._number:
                assert "error" not in message, message
                return dict(message["result"])

    def ask(self, expression: str) -> Any:
        """Return the value of an expression in JavaScript."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, expression: str, timeout: float = 60.0) -> Any:
        """Wait until an expression in JavaScript is true, and return its value."""
        return self._await(lambda: self.ask(expression), timeout, expression)

    def press(self, selector: str) -> None:
        """Click the middle of an element with the mouse."""
        x, y = self.ask(
            f"(() => {{ const box = document.querySelector({selector!r}).getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y)

    def mouse(self, kind: str, x: float, y: float, buttons: int = 1) -> None:
        """Send an event of the left mouse button at a place of the window [px]."""
        event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": buttons}
        self.call("Input.dispatchMouseEvent", **event, clickCount=1)

    def screenshot(self, path: Path) -> None:
        """Write a PNG file of the window."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(Exception):
            self.call("Browser.close")
            self._open.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _await(self, condition: Any, timeout: float = 60.0, what: str = "") -> Any:
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
            assert self._process.poll() is None, "the browser ended"
            time.sleep(0.05)
        return value
