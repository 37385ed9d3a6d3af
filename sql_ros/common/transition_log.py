"""Numbered records in SQLite: received transitions that are in no checkpoint yet, and sent ones
that are not acknowledged yet.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sql_ros.common.errors import LedgerError

BUSY_TIMEOUT_S = 1.0  # longest wait for another process that has locked the file
MOST_IN_MEMORY = 1000  # records of a temporary ledger, before they are written to disk
# records removed in one transaction: a temporary ledger keeps them in memory until its end
MOST_AT_ONCE = 10_000


class Ledger:
    """Byte strings by rising number; every method may be called in any thread.

    With a file, synced records survive a crash of the process or of the machine. Without, all
    records
    end with the process, and those that exceed the memory limit are on disk meanwhile.

    Args:
        path: The file, made if it does not exist; None: a temporary one.

    Raises:
        LedgerError: The file cannot be read or written, is damaged, is no ledger, or is in use by
            another process. Every method raises it, too; records that are not synced are then tried
            again with the next call.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._pending: list[tuple[int, bytes]] = []
        try:
            self._database = self._open()
        except (OSError, sqlite3.Error) as error:
            raise self._error(error) from None

    @staticmethod
    def set_aside(path: Path) -> Path:
        """Rename a damaged file, remove SQLite's files beside it, and return the new path."""
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return path.rename(path.with_name(path.name + ".damaged"))

    def put(self, number: int, content: bytes) -> None:
        """Add a record; it replaces one of the same number."""
        with self._lock:
            self._pending.append((number, content))
            # equality: a failed sync is not repeated with each further record
            is_full = len(self._pending) % MOST_IN_MEMORY == 0
        if self._path is None and is_full:
            self.sync()

    def sync(self) -> None:
        """Write all added records to the file durably; it takes some milliseconds."""
        self._try(lambda: None)

    def after(self, number: int, most: int = -1) -> list[tuple[int, bytes]]:
        """Return records with larger numbers than a given one, in order.

        Args:
            number: The number.
            most: Most records to return; -1: all.

        Returns:
            Number and content of each record.
        """
        command = "SELECT number, content FROM records WHERE number > ? ORDER BY number LIMIT ?"
        records = list(
            self._try(lambda: self._database.execute(command, (number, most)).fetchall())
        )
        if not all(isinstance(content, bytes) for _, content in records):
            raise self._error(sqlite3.DatabaseError("a record is no byte string"))
        return records

    def forget_until(self, number: int) -> None:
        """Remove the records up to and including a number, also those that are not written yet."""
        with self._lock:
            self._pending = [record for record in self._pending if record[0] > number]
        command = (
            "DELETE FROM records WHERE number IN (SELECT number FROM records WHERE number <= ?"
            " ORDER BY number LIMIT ?)"
        )
        while (
            self._try(lambda: self._database.execute(command, (number, MOST_AT_ONCE)).rowcount)
            == MOST_AT_ONCE
        ):
            pass

    def ends(self) -> tuple[int, int]:
        """Return the smallest and the largest number of a record; (0, 0) without records."""
        first, last = self._try(
            lambda: self._database.execute(
                "SELECT MIN(number), MAX(number) FROM records"
            ).fetchone()
        )
        return first or 0, last or 0

    def close(self) -> None:
        """Sync, and close the file."""
        self.sync()
        self._database.close()

    def _open(self) -> sqlite3.Connection:
        """Open the database, check it, and make its table.

        Raises:
            OSError: The folder cannot be made.
            sqlite3.Error: The file is damaged or in use.
        """
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self._path or "", BUSY_TIMEOUT_S, check_same_thread=False)
        for pragma in (
            ("journal_mode = MEMORY",)
            if self._path is None
            else ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL")
        ):
            database.execute(f"PRAGMA {pragma}")
        (outcome,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if outcome != "ok":
            raise sqlite3.DatabaseError(outcome)
        database.execute(
            "CREATE TABLE IF NOT EXISTS records (number INTEGER PRIMARY KEY, content BLOB NOT NULL)"
        )
        database.commit()
        return database

    def _try(self, work: Callable[[], Any]) -> Any:
        """Write the pending records, do some work, and commit both; on an error change nothing.

        Args:
            work: Called with the lock held; uses the database.

        Returns:
            The result of the work.

        Raises:
            LedgerError: SQLite or the file system reported an error.
        """
        with self._lock:
            try:
                if self._pending:
                    self._database.executemany(
                        "INSERT OR REPLACE INTO records VALUES (?, ?)", self._pending
                    )
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
        """Return the error to raise for an error of SQLite or of the file system."""
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError
        )
        return LedgerError(
            f"cannot use {self._path or 'a temporary ledger'}: {error}", damaged=damaged
        )
