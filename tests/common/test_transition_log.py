"""The ledger: what was synced is there after a crash, what is damaged is recognised, what could not
be written is not lost.
"""

import os
import resource
import signal
import subprocess
import sys

import pytest

from sql_ros.common.errors import LedgerError
from sql_ros.common.transition_log import MOST_IN_MEMORY, Ledger


@pytest.fixture(params=["file", "temporary"])
def ledger(request, tmp_path):
    made = Ledger(tmp_path / "records.sqlite" if request.param == "file" else None)
    yield made
    made.close()


def test_records_come_back_in_the_order_of_their_numbers_from_any_number_on(ledger):
    for number in (3, 1, 2, 5):
        ledger.put(number, bytes([number]))
    assert ledger.after(0) == [(n, bytes([n])) for n in (1, 2, 3, 5)]
    assert ledger.after(1, 2) == [(2, b"\x02"), (3, b"\x03")]
    assert ledger.ends() == (1, 5)


def test_what_was_forgotten_is_gone_and_a_number_has_one_record(ledger):
    ledger.put(1, b"old")
    ledger.sync()
    ledger.put(1, b"new")
    ledger.put(2, b"two")
    assert ledger.after(0) == [(1, b"new"), (2, b"two")]
    ledger.forget_until(1)
    assert ledger.ends() == (2, 2)
    ledger.forget_until(9)
    assert ledger.ends() == (0, 0)


def test_what_was_synced_is_there_after_the_process_was_killed(tmp_path):
    path = tmp_path / "deep" / "records.sqlite"
    script = (
        "import os, sys, pathlib; from sql_ros.common.transition_log import Ledger; a ="
        " Ledger(pathlib.Path(sys.argv[1]))\nfor n in range(1, 101): a.put(n,"
        " bytes(400))\na.sync(); a.put(101, b'not synced'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [number for number, _ in Ledger(path).after(0)] == list(range(1, 101))


def test_what_a_temporary_ledger_could_not_write_is_kept_in_memory_and_what_it_had_written_stays(
    full_disk,
):
    ledger, failed = Ledger(), 0
    with full_disk(200_000):
        for number in range(1, 9 * MOST_IN_MEMORY + 1):
            try:
                ledger.put(number, bytes(400))
            except LedgerError:
                failed += 1
        with pytest.raises(LedgerError, match="cannot use a temporary ledger"):
            ledger.sync()
    assert 0 < failed < 9  # tried once in a thousand
    assert [number for number, _ in ledger.after(0)] == list(range(1, 9 * MOST_IN_MEMORY + 1))


def test_forgetting_much_at_once_takes_little_memory():
    ledger = Ledger()
    for number in range(1, 100 * MOST_IN_MEMORY):
        ledger.put(number, os.urandom(400))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ledger.forget_until(100 * MOST_IN_MEMORY - 1)
    # KiB, of 40,000 that were forgotten
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16_000
    assert ledger.ends() == (0, 0)


def test_a_long_temporary_ledger_lies_on_disk_and_not_in_memory():
    ledger, before = Ledger(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(1, 100 * MOST_IN_MEMORY):
        ledger.put(number, os.urandom(400))
    # KiB, of 40,000 that were put
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16_000
    assert ledger.ends() == (1, 100 * MOST_IN_MEMORY - 1)


@pytest.mark.parametrize("content", [b"this is no database, but long enough to be one" * 100, None])
def test_a_damaged_file_is_recognised(tmp_path, content):
    path = tmp_path / "records.sqlite"
    if content is None:
        ledger = Ledger(path)
        for number in range(1, 2000):
            ledger.put(number, bytes(400))
        ledger.close()
        content = bytearray(path.read_bytes())
        content[8192:16384] = os.urandom(8192)
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=str(path)):
        Ledger(path)


def test_two_processes_cannot_have_the_same_file(tmp_path):
    path = tmp_path / "records.sqlite"
    first = Ledger(path)
    first.put(1, b"one")
    first.sync()
    with pytest.raises(LedgerError, match="locked"):
        Ledger(path)
    first.close()
    assert Ledger(path).after(0) == [(1, b"one")]


def test_what_could_not_be_written_is_tried_again(tmp_path, full_disk):
    ledger = Ledger(tmp_path / "records.sqlite")
    ledger.put(1, b"one")
    ledger.sync()
    with full_disk(20_000):
        for number in range(2, 400):
            ledger.put(number, bytes(400))
        with pytest.raises(LedgerError, match="cannot use"):
            ledger.sync()
    ledger.put(400, b"last")
    assert [number for number, _ in ledger.after(0)] == list(range(1, 401))
    ledger.close()
    assert len(Ledger(tmp_path / "records.sqlite").after(0)) == 400
