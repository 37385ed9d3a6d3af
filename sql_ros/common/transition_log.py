"""The transition log, or ledger: numbered records in SQLite.

The learner keeps received transitions that are in no checkpoint yet. The actor keeps sent
transitions that are not acknowledged yet.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sql_ros.common.errors import LedgerError

BUSY_TIMEOUT_S = 1.0  # longest wait for another process that has locked the file [s]
MOST_IN_MEMORY = 1000  # records of a temporary ledger before they are written to disk
# records removed in one transaction: a temporary ledger has them in memory until its transaction
# ends
MOST_AT_ONCE = 10_000


class Ledger:
    """Records by number, each a byte string; every method may be called in any thread.

    With a file, synced records survive a crash of the process or of the machine. Without one, all
    records are lost when the process ends; those that exceed `MOST_IN_MEMORY` are on disk until
    then.

    Args:
        path: Path of the file, made if it does not exist; None: a temporary ledger.

    Raises:
        LedgerError: The file cannot be read or written, is damaged, is no ledger, or is in use by
            another process. The methods raise it, too. Records that are not synced are then kept,
            and the next call tries to write them again.
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
        """Add ".damaged" to the name of a damaged file, and remove SQLite's files beside it.

        Args:
            path: Path of the file.

        Returns:
            The new path.

        Raises:
            OSError: A file cannot be renamed or removed.
        """
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return path.rename(path.with_name(path.name + ".damaged"))

    def put(self, number: int, content: bytes) -> None:
        """Add a record, which replaces a record of the same number.

        The record is kept in memory until the next call of another method writes it. A temporary
        ledger also writes its records after every `MOST_IN_MEMORY`.

        Args:
            number: Number of the record.
            content: Content of the record.
        """
        with self._lock:
            self._pending.append((number, content))
            # a multiple: after a failed sync the next try is not at each further record
            is_full = len(self._pending) % MOST_IN_MEMORY == 0
        if self._path is None and is_full:
            self.sync()

    def sync(self) -> None:
        """Write all added records durably to the file, which takes some milliseconds."""
        self._try(lambda: None)

    def after(self, number: int, most: int = -1) -> list[tuple[int, bytes]]:
        """Return the records after a number, in the order of their numbers.

        Args:
            number: Number before the first record that is returned.
            most: Most records to return; -1: all.

        Returns:
            Number and content of each record.

        Raises:
            LedgerError: See the class; also if a record is no byte string.
        """
        command = "SELECT number, content FROM records WHERE number > ? ORDER BY number LIMIT ?"
        records = list(
            self._try(lambda: self._database.execute(command, (number, most)).fetchall())
        )
        if not all(isinstance(content, bytes) for _, content in records):
            raise self._error(sqlite3.DatabaseError("a record is no byte string"))
        return records

    def forget_until(self, number: int) -> None:
        """Remove all records with numbers up to a given one, from memory and file.

        The other records in memory are written. At most `MOST_AT_ONCE` records are removed in one
        transaction.

        Args:
            number: Largest number that is removed.
        """
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
        """Return the smallest and the largest number of all records; (0, 0) without records."""
        first, last = self._try(
            lambda: self._database.execute(
                "SELECT MIN(number), MAX(number) FROM records"
            ).fetchone()
        )
        return first or 0, last or 0

    def close(self) -> None:
        """Write all added records durably, and close the file."""
        self.sync()
        self._database.close()

    def _open(self) -> sqlite3.Connection:
        """Open the database, check its integrity, and make its table if it has none.

        With a file, the lock is exclusive: no other process can use the file.

        Raises:
            OSError: The folder cannot be made.
            sqlite3.Error: The file cannot be used, is damaged, or is in use.
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
        """Write the pending records and do some work in one transaction.

        After an error nothing is changed, and the records stay pending.

        Args:
            work: Uses the database; it is called with the lock held.

        Returns:
            The result of `work`.

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
        """Return the `LedgerError` for an error of SQLite or of the file system.

        Its `damaged` is true if SQLite finds the content of the file wrong. It is false for errors
        of an operation, such as a lock or a full disk, and for those of the file system.
        """
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError
        )
        return LedgerError(
            f"cannot use {self._path or 'a temporary ledger'}: {error}", damaged=damaged
        )
