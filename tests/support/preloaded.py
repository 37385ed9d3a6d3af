"""Node processes that begin with their third-party imports done.

A node spends two seconds of CPU time on imports, a learner six, and a test of a node little more.
`Preloader` starts one interpreter that imports what the nodes import, and forks it for each node.
The modules of sql_ros are not kept: each process imports them itself, as `python -m` does. A forked
process is a child of the test's process, so that it is waited for and signalled like any other.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time

PACKAGE = "sql_ros"
MESSAGE_BYTES = 1 << 17
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_LIBC = ctypes.CDLL(None)


class ForkedProcess:
    """A child of this process, with the part of subprocess.Popen that tests use.

    Attributes:
        pid: Process id.
        returncode: Exit code, the negative number of the signal that ended the process, or None.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code; None while the process runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code.

        Raises:
            subprocess.TimeoutExpired: The process still runs after the timeout [s].
        """
        deadline = time.monotonic() + timeout if timeout is not None else float("inf")
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            time.sleep(0.005)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM, unless the process has ended."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL, unless the process has ended."""
        self.send_signal(signal.SIGKILL)


class Preloader:
    """An interpreter with modules imported, which is forked for each process.

    Args:
        modules: Modules of sql_ros whose third-party imports are done in advance.
    """

    def __init__(self, *modules: str) -> None:
        self._environment = dict(os.environ)
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [sys.executable, __file__, str(theirs.fileno()), *modules]
        with theirs:
            self._server = subprocess.Popen(
                words, pass_fds=[theirs.fileno()], stdout=subprocess.DEVNULL
            )

    def fits(self, environment: dict[str, str], *, apart_from: set[str]) -> bool:
        """Return whether the imports were done in this environment, but for some variables."""
        return all(
            self._environment.get(name) == environment.get(name)
            for name in (self._environment.keys() | environment.keys()) - apart_from
        )

    def start(self, module: str, words: list[str], environment: dict[str, str], output: int) -> int:
        """Start `python -m module words` and return its process id.

        Args:
            module: Module to run as the main one.
            words: Arguments of the command line behind the module.
            environment: Every variable of the process.
            output: File descriptor of its stdout and stderr.
        """
        request = {"module": module, "words": words, "environment": environment}
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)  # the process between the two ends at once
        try:
            socket.send_fds(self._connection, [json.dumps(request).encode()], [output])
            answer = self._connection.recv(MESSAGE_BYTES)
        finally:
            _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 0)
        assert answer, "the interpreter with the imports has ended"
        return int(answer)

    def close(self) -> None:
        """End the interpreter."""
        self._connection.close()
        self._server.wait(60)


def _serve(connection: socket.socket, modules: list[str]) -> dict:
    """Import the modules, then fork for each request; return the request in the forked process."""
    for name in modules:
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]
    while True:
        content, (*descriptors,), _, _ = socket.recv_fds(connection, MESSAGE_BYTES, 1)
        if not content:
            os._exit(0)  # the test's process has ended
        (output,) = descriptors
        pid = _fork_orphan()
        if pid == 0:
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.close(output)
            return json.loads(content)
        os.close(output)
        connection.send(str(pid).encode())


def _fork_orphan() -> int:
    """Fork a process whose parent, a process between the two, has ended.

    Return its process id, and 0 in the new process, once it has its new parent.
    """
    ended, open_until_end = os.pipe()
    number, reported = os.pipe()
    between = os.fork()
    if between == 0:
        pid = os.fork()
        if pid:
            os.write(reported, str(pid).encode())
            os._exit(0)
        for descriptor in (open_until_end, number, reported):
            os.close(descriptor)
        os.read(ended, 1)  # returns when the process between has ended
        os.close(ended)
        return 0
    for descriptor in (ended, open_until_end, reported):
        os.close(descriptor)
    pid = int(os.read(number, 32))
    os.close(number)
    os.waitpid(between, 0)
    return pid


if __name__ == "__main__":
    with contextlib.closing(socket.socket(fileno=int(sys.argv[1]))) as _connection:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the tests
        _request = _serve(_connection, sys.argv[2:])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(_request["environment"])
    sys.path[0] = os.getcwd()
    sys.argv = ["-m", *_request["words"]]  # as `python -m` while it imports
    runpy.run_module(_request["module"], run_name="__main__", alter_sys=True)
