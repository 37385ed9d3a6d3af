"""Numbered records in order, in SQLite: what was received and is in no checkpoint yet, what was sent and nobody has acknowledged yet."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sql_ros.core.errors import LedgerError

PATIENCE_S = 1.0  # another process may have the file for so long
MOST_IN_MEMORY = 1000  # records of a temporary ledger, then they are written
MOST_AT_ONCE = 10_000  # records removed in one transaction: until its end a temporary ledger has them in memory


class Ledger:
    """Byte strings by rising number, for any thread.

    With a file, what was synced survives a crash of the process or the machine. Without, everything goes with the process, and what is too
    much for memory lies on disk meanwhile.

    Args:
        path: of the file, made if need be; None: a temporary one.

    Raises:
        LedgerError: it cannot be read or written, is damaged, no ledger at all, or in use by another process. So does every method; what
            was put and not synced yet is then tried again with the next.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path, self._lock = path, threading.Lock()
        self._pending: list[tuple[int, bytes]] = []
        try:
            self._database = self._open()
        except (OSError, sqlite3.Error) as error:
            raise self._error(error) from None

    @staticmethod
    def set_aside(path: Path) -> Path:
        """Renames a damaged file, and with it what SQLite had beside it; returns its new name."""
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return path.rename(path.with_name(path.name + ".damaged"))

    def put(self, number: int, content: bytes) -> None:
        """Adds a record, over one of the same number."""
        with self._lock:
            self._pending.append((number, content))
            many = len(self._pending) % MOST_IN_MEMORY == 0  # where it fails, not with each that follows
        if self._path is None and many:
            self.sync()

    def sync(self) -> None:
        """What was put until now is written, in a file for good, when this returns; that takes some milliseconds."""
        self._try(lambda: None)

    def after(self, number: int, most: int = -1) -> list[tuple[int, bytes]]:
        """Records of a larger number in order, `most` of them at most; -1: all."""
        command = "SELECT number, content FROM records WHERE number > ? ORDER BY number LIMIT ?"
        records = list(self._try(lambda: self._database.execute(command, (number, most)).fetchall()))
        if not all(isinstance(content, bytes) for _, content in records):
            raise self._error(sqlite3.DatabaseError("a record is no byte string"))
        return records

    def forget_until(self, number: int) -> None:
        """Removes records up to and with a number; those that could not be written so far take no memory any more."""
        with self._lock:
            self._pending = [record for record in self._pending if record[0] > number]
        command = "DELETE FROM records WHERE number IN (SELECT number FROM records WHERE number <= ? ORDER BY number LIMIT ?)"
        while self._try(lambda: self._database.execute(command, (number, MOST_AT_ONCE)).rowcount) == MOST_AT_ONCE:
            pass

    def ends(self) -> tuple[int, int]:
        """The smallest and the largest number; (0, 0) where there is none."""
        first, last = self._try(lambda: self._database.execute("SELECT MIN(number), MAX(number) FROM records").fetchone())
        return first or 0, last or 0

    def close(self) -> None:
        """Syncs and lets go of the file."""
        self.sync()
        self._database.close()

    def _open(self) -> sqlite3.Connection:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self._path or "", PATIENCE_S, check_same_thread=False)
        for pragma in (
            ("journal_mode = MEMORY",) if self._path is None else ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL")
        ):
            database.execute(f"PRAGMA {pragma}")
        (outcome,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if outcome != "ok":
            raise sqlite3.DatabaseError(outcome)
        database.execute("CREATE TABLE IF NOT EXISTS records (number INTEGER PRIMARY KEY, content BLOB NOT NULL)")
        database.commit()
        return database

    def _try(self, work: Callable[[], Any]) -> Any:
        """Works, after writing what is pending, and commits; or changes nothing."""
        with self._lock:
            try:
                if self._pending:
                    self._database.executemany("INSERT OR REPLACE INTO records VALUES (?, ?)", self._pending)
                result = work()
                if self._database.in_transaction:
                    self._database.commit()
            except (OSError, sqlite3.Error) as error:
                if self._database.in_transaction:
                    self._database.rollback()
                raise self._error(error) from None
            self._pending.clear()
            return result

    def _error(self, error: Exception) -> LedgerError:
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        return LedgerError(f"cannot use {self._path or 'a temporary ledger'}: {error}", damaged=damaged)
