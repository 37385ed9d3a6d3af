"""Whether a topic has more than one writer, by the number that each gives its own messages."""

from __future__ import annotations

CONTESTED_S = 2.0  # without a sign of a second writer there is one again
SILENCE_S = 1.0  # numbers that begin anew after such a silence are those of a restarted writer


class WriterWatch:
    """Tell two writers in turn from one; times are given in, from a steady clock [s].

    A writer counts up. Of the messages A, B, A of two writers at least one has a number that is not
    above the one before. A writer that was restarted begins anew as well, but only once.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._heard = -float("inf")
        self._contested = -float("inf")

    def heard(self, number: int | None, now: float) -> bool:
        """Take the number of a message, None where the middleware gives none.

        Returns:
            This message shows that there is another writer.
        """
        last = self._number
        was_silent = now - self._heard > SILENCE_S
        self._number, self._heard = number, now
        if number is None or last is None or number > last or was_silent:
            return False
        self._contested = now
        return True

    def is_contested(self, now: float) -> bool:
        """Return whether another writer showed itself lately."""
        return now - self._contested < CONTESTED_S
