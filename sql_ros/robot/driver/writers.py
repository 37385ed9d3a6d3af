"""Detect that a topic has more than one writer, by the sequence numbers of the messages."""

from __future__ import annotations

CONTESTED_S = 2.0  # after this time without a sign of it, the second writer is gone
SILENCE_S = 1.0  # numbers that restart after a longer silence are those of a restarted writer


class WriterWatch:
    """Detects a second writer. Times are given by the caller, from a steady clock [s].

    A writer counts up. Of the messages A, B, A of two writers, at least one has a number that is
    not above the one before. A writer that was restarted starts at the beginning as well, but only
    once.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._heard = -float("inf")
        self._contested = -float("inf")

    def heard(self, number: int | None, now: float) -> bool:
        """Take the sequence number of a message.

        Args:
            number: None where the middleware gives none.
            now: Steady time [s].

        Returns:
            Whether this message shows that there is another writer.
        """
        last = self._number
        was_silent = now - self._heard > SILENCE_S
        self._number = number
        self._heard = now
        if number is None or last is None or number > last or was_silent:
            return False
        self._contested = now
        return True

    def is_contested(self, now: float) -> bool:
        """Return whether another writer was detected within the last `CONTESTED_S`.

        Args:
            now: Steady time [s].
        """
        return now - self._contested < CONTESTED_S
