"""Output of a process that never blocks: stdout and stderr become pipes that threads empty.

A stopped terminal (Ctrl-S), a pipe without a reader, or a full or hanging disk would block a thread
that logs, and with it every thread that waits for its locks or for Python's. Therefore file
descriptors 1 and 2 become pipes whose writing end never blocks. A collector thread reads each pipe
and gives the content to sinks: the terminal and a log file. Each sink writes in a thread of its own
and drops what it cannot keep.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import io
import os
import select
import sys
import termios
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

TERMINALS = (1, 2)  # file descriptors of stdout and stderr
BLOCK = 65536  # largest read [bytes]
PIPE = 1 << 20  # capacity of a pipe, if Linux allows it [bytes]
MOST_WAITING = 1 << 20  # that a sink keeps while its file takes nothing [bytes]
FINISH_S = 1.0  # longest wait of an ending process for its last output [s]
POLL_S = 0.005  # time between two looks at the pipes while the process ends [s]


class _Sink:
    """Writes to one file descriptor in a thread of its own, which construction starts.

    Args:
        target: File descriptor to write to.
        name: Name of the thread.

    Attributes:
        target: The file descriptor.
        dropped: Number of bytes that were dropped: too much was waiting, or a write failed.
        thread: The writing thread.
    """

    def __init__(self, target: int, name: str) -> None:
        self.target = target
        self.dropped = 0
        self._blocks: deque[bytes] = deque()
        self._waiting = 0  # bytes, including those being written
        self._changed = threading.Condition()
        self.thread = threading.Thread(target=self._write, name=name, daemon=True)
        self.thread.start()

    @property
    def is_empty(self) -> bool:
        """Return whether every block was written or dropped."""
        return self._waiting == 0

    def put(self, block: bytes) -> None:
        """Queue a block of bytes for the writing thread, without waiting.

        If more than `MOST_WAITING` bytes would wait, the block is dropped and counted in `dropped`.
        """
        with self._changed:
            if self._waiting + len(block) > MOST_WAITING:
                self.dropped += len(block)
                return
            self._blocks.append(block)
            self._waiting += len(block)
            self._changed.notify()

    def _write(self) -> None:
        """Write queued blocks for ever, as body of the thread; count bytes that are not written."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._blocks)
                block = self._blocks.popleft()
            written = 0
            with contextlib.suppress(OSError):  # the terminal is gone, or the disk is full
                while written < len(block):
                    written += os.write(self.target, block[written:])
            with self._changed:
                self.dropped += len(block) - written
                self._waiting -= len(block)


class _Channel:
    """A pipe in place of stdout, stderr or both, and the sinks of its content.

    Construction replaces the file descriptors and starts the collector thread.

    Args:
        fds: File descriptors that are replaced: 1, 2 or both.

    Attributes:
        original: Duplicate of the first file descriptor as it was before.
        sinks: Sinks that get everything written to the pipe, the terminal's first.
        thread: The collector thread.
    """

    def __init__(self, fds: tuple[int, ...]) -> None:
        self._fds = fds
        self.original = os.dup(fds[0])
        self._reads, writes = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, PIPE)
        os.set_blocking(writes, False)
        self.sinks = [_Sink(self.original, f"terminal {fds[0]}")]
        for fd in fds:
            os.dup2(writes, fd)
        os.close(writes)
        self._is_passing_on = False
        self.thread = threading.Thread(target=self._collect, name=f"output {fds[0]}", daemon=True)
        self.thread.start()

    def restore(self) -> None:
        """Connect the file descriptors to the terminal again."""
        for fd in self._fds:
            os.dup2(self.original, fd)

    @property
    def is_empty(self) -> bool:
        """Return whether no byte waits in the pipe, in the collector or in a sink."""
        content = fcntl.ioctl(self._reads, termios.FIONREAD, b"\0" * 4)
        return (
            content == b"\0" * 4
            and not self._is_passing_on
            and all(sink.is_empty for sink in self.sinks)
        )

    def _collect(self) -> None:
        """Read the pipe until its end, as body of the thread, and give each block to the sinks."""
        poll = select.poll()
        poll.register(self._reads, select.POLLIN)
        while True:
            poll.poll()
            # set before the read: `is_empty` must see a block between pipe and sinks
            self._is_passing_on = True
            block = os.read(self._reads, BLOCK)
            if not block:
                return
            for sink in self.sinks:
                sink.put(block)
            self._is_passing_on = False


class _DroppingStream(io.RawIOBase):
    """Python's end of a pipe that never blocks; a part that does not fit is dropped and counted.

    Args:
        fd: File descriptor of the writing end.
        is_terminal: Result of `isatty`: whether a terminal is behind the pipe.

    Attributes:
        dropped: Number of bytes dropped.
    """

    def __init__(self, fd: int, is_terminal: bool) -> None:
        super().__init__()
        self._fd = fd
        self._is_terminal = is_terminal
        self.dropped = 0

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return self._is_terminal

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Write bytes to the pipe, and count those that the pipe does not take as dropped.

        Returns:
            The number of bytes given, so that the caller does not try again.
        """
        written = 0
        with contextlib.suppress(OSError):
            written = os.write(self._fd, data)
        self.dropped += len(data) - written
        return len(data)


class Output:
    """Stdout and stderr of this process, unchanged until `redirect`.

    Attributes:
        terminals: File descriptors of the original stdout and stderr, for child processes.
    """

    def __init__(self) -> None:
        self.terminals = TERMINALS
        self._channels: list[_Channel] = []
        self._streams: list[_DroppingStream] = []

    @property
    def dropped(self) -> int:
        """Return the number of dropped bytes.

        Bytes that C code wrote and that did not fit into the pipe are not counted.
        """
        sinks = [sink for channel in self._channels for sink in channel.sinks]
        return sum(sink.dropped for sink in sinks) + sum(stream.dropped for stream in self._streams)

    def redirect(self) -> None:
        """Replace stdout and stderr by pipes that never block; a second call does nothing.

        Python's `sys.stdout` and `sys.stderr` are replaced, too, and `terminals` become duplicates
        of the original file descriptors. Threads are started. `finish` is called at exit.
        """
        if self._channels:
            return
        are_terminals = [os.isatty(fd) for fd in TERMINALS]
        if are_terminals[1]:
            os.environ.setdefault("RCUTILS_COLORIZED_OUTPUT", "1")  # rcutils would see the pipe
        sys.stdout.flush()
        sys.stderr.flush()
        is_same = os.path.sameopenfile(*TERMINALS)  # one pipe then keeps the order of lines
        self._channels = [_Channel(TERMINALS)] if is_same else [_Channel((fd,)) for fd in TERMINALS]
        self.terminals = (self._channels[0].original, self._channels[-1].original)
        self._streams = [
            _DroppingStream(fd, is_terminal) for fd, is_terminal in zip(TERMINALS, are_terminals)
        ]
        sys.stdout, sys.stderr = (_text(stream) for stream in self._streams)
        atexit.register(self.finish)

    def keep(self, file: Path) -> None:
        """Append all further output to a file as well; only after `redirect`.

        Args:
            file: Path of the file, made if it does not exist.

        Raises:
            OSError: The file cannot be opened.
        """
        target = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        sink = _Sink(target, "log file")
        for channel in self._channels:
            channel.sinks.append(sink)

    def threads(self) -> list[int]:
        """Return the kernel's ids of the collector and writing threads; empty before `redirect`."""
        threads = [
            thread
            for channel in self._channels
            for thread in (channel.thread, *(sink.thread for sink in channel.sinks))
        ]
        return [thread.native_id for thread in threads if thread.native_id is not None]

    def finish(self, longest_s: float = FINISH_S) -> None:
        """Connect the terminal directly again, and wait until earlier output is written.

        Args:
            longest_s: Longest wait [s]; output that is not written by then may be lost.
        """
        for channel in self._channels:
            channel.restore()
        until = time.monotonic() + longest_s
        while time.monotonic() < until and not all(channel.is_empty for channel in self._channels):
            time.sleep(POLL_S)


def _text(stream: _DroppingStream) -> io.TextIOWrapper:
    """Return a text stream over a byte stream, without a buffer."""
    buffer: Any = stream  # typed as a raw stream
    return io.TextIOWrapper(buffer, "utf-8", errors="backslashreplace", write_through=True)


OUTPUT = Output()  # of this process
