"""Terminals that block: a process goes on, and what it says comes out where somebody reads."""

import contextlib
import os
import select
import subprocess
import sys

import pytest

FLOOD = """
import contextlib, os, sys
from sql_ros.common.output import OUTPUT
OUTPUT.redirect()
for number in range(100):
    with contextlib.suppress(BlockingIOError):
        os.write(2, b"x" * 4096)  # as C code does, which goes on where nothing fits
    print("y" * 100_000, file=sys.stderr)
sys.stdout.write("done")
"""
SAY = """
import sys
from sql_ros.common.output import OUTPUT
OUTPUT.redirect()
print("to stdout", sys.stdout.isatty())
print("to stderr", file=sys.stderr)
raise SystemExit("the last line")
"""


def _run(script: str, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", script], **options)


def _full_pipe() -> tuple[int, int]:
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writes, bytes(4096))
    os.set_blocking(writes, True)
    return reads, writes


@pytest.fixture
def full_pipe():
    ends = _full_pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_process_whose_stderr_nobody_reads_goes_on(full_pipe):
    """It waits for the terminal at its end only, and not for long."""
    _, writes = full_pipe
    process = _run(FLOOD, stdout=subprocess.PIPE, stderr=writes)
    ready, _, _ = select.select([process.stdout], [], [], 20)
    assert ready
    assert process.communicate(timeout=80)[0] == b"done"
    assert os.get_blocking(writes)  # others write there, too


def test_a_file_on_a_full_disk_does_not_stop_a_process(tmp_path):
    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    with (tmp_path / "log").open("wb") as log:
        process = _run(FLOOD, stdout=subprocess.PIPE, stderr=log, preexec_fn=limit)
        assert process.communicate(timeout=80)[0] == b"done"


def test_what_was_dropped_is_counted(full_pipe):
    count = FLOOD + "sys.stdout.write(f' {OUTPUT.dropped}')"
    process = _run(count, stdout=subprocess.PIPE, stderr=full_pipe[1])
    said, dropped = process.communicate(timeout=80)[0].split()
    assert said == b"done"
    assert int(dropped) > 5_000_000  # of ten million bytes two fit into pipe and memory


def test_what_is_said_reaches_its_stream_before_the_process_ends():
    process = _run(SAY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said = process.communicate(timeout=80)
    assert said == (b"to stdout False\n", b"to stderr\nthe last line\n")
    assert process.returncode == 1


def test_lines_of_both_streams_keep_their_order():
    process = _run(SAY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.communicate(timeout=80)[0] == b"to stdout False\nto stderr\nthe last line\n"


def test_the_last_words_of_a_process_are_never_lost():
    """Between pipe and sink they were nowhere, and the end did not wait: a third of the refused
    starts gave no reason.
    """
    code = (
        "import sys\n"
        "from sql_ros.common.output import OUTPUT\n"
        "OUTPUT.redirect()\n"
        "print('last words', file=sys.stderr, flush=True)\n"
        "sys.exit(2)\n"
    )
    for _ in range(10):
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert ended.returncode == 2
        assert ended.stderr == b"last words\n"
