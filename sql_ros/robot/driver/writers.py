"""Detect that a topic has more than one publisher, by the sequence numbers of its messages."""

from __future__ import annotations

CONTESTED_S = 2.0  # without a sign of a second writer for this time, it is gone
SILENCE_S = 1.0  # numbers that restart after a longer silence are those of a restarted writer


class WriterWatch:
    """Detect a second publisher ("writer") of a topic. Steady times are given by the caller [s].

    Each writer counts its messages up. Of the messages A, B, A of two writers, at least one has a
    number that is not above the one before. A writer that was restarted begins to count anew as
    well, which looks the same once.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._heard = -float("inf")
        self._contested = -float("inf")

    def heard(self, number: int | None, now: float) -> bool:
        """Take the sequence number of a message.

        Args:
            number: The sequence number; None where the middleware gives none.
            now: Steady time at which the message was read [s].

        Returns:
            Whether the number is not above the last one, which shows another writer; the topic is
            then contested for `CONTESTED_S` (`is_contested`). False for the first number, after a
            silence of more than `SILENCE_S`, and without numbers.
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
