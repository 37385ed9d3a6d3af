"""A topic that stops the arm: an emergency stop, a lock, or a deadman's switch.

================  =========================  =================================================
kind              stops the arm              where it is required, also
================  =========================  =================================================
`emergency_stop`  by a true, which latches   by its silence, and before it was heard
`stop_lock`       by a true                  by its silence, and before it was heard
`enable`          never                      unless a true was received within the deadline
================  =========================  =================================================

A message does not name its publisher. If a topic has several publishers, the false of one could end
the true of another, so a topic with several publishers stops the arm, whether it is required or
not.

The age of a message counts from when its source sent it, not from when it was read, because a
message may have waited in a queue. Times are steady time [s], given by the caller. One thread calls
`take`, another one the rest.
"""

from __future__ import annotations

import math

from sql_ros.robot.config import ENABLE

NEVER = -float("inf")
# largest drift between the clocks of source and reader: the largest rate by which NTP adjusts one
DRIFT = 5e-4
LATE_S = 0.02  # a message that is later is one that was delayed, whatever the clocks do
DRIFTED_S = 0.1  # largest drift in total; a growth beyond it is a delay
QUEUED_S = 0.02  # a larger lateness is reported; the network alone explains a smaller one


class Switch:
    """The last message of a topic that stops the arm, and its age.

    Args:
        kind: One of `STOP_KINDS`.
        topic: Resolved topic, for messages to the user.
        deadline_s: Longest silence [s]; 0: the switch is not required.

    Attributes:
        kind: As given.
        topic: As given.
        is_on: Whether the last message was true.
        complaint: What is wrong with the publishers of the topic, set by the caller; empty if
            nothing is. A complaint stops the arm if the switch is required.
        several: That the topic has several publishers, in words, set by the caller; empty if it has
            not. The arm is stopped meanwhile, and no false ends a true.
    """

    def __init__(self, kind: str, topic: str, deadline_s: float = 0.0) -> None:
        self.kind = kind
        self.topic = topic
        self._deadline = deadline_s
        self.is_on = False
        self.complaint = ""
        self.several = ""
        # steady time at which the last message was sent, of a deadman's switch the last true [s]
        self._heard = NEVER
        self._late_s = 0.0  # lateness of the last message [s]

    @property
    def is_required(self) -> bool:
        """Return whether the arm may not move without the switch."""
        return self._deadline > 0.0

    def require(self, deadline_s: float) -> None:
        """Require the switch from now on. Of two deadlines [s] the shorter one counts."""
        self._deadline = min(self._deadline or deadline_s, deadline_s)

    def take(self, is_on: bool, now: float, late_s: float = 0.0) -> None:
        """Take a message.

        A false of a deadman's switch counts as silence from then on. While there are `several`
        publishers, the false of any other switch is ignored after a true.

        Args:
            is_on: Value of the message.
            now: Steady time at which it was read [s].
            late_s: Time by which it was read later than usual [s]; see `SourceLag`.
        """
        sent_at = now - late_s
        self._late_s = late_s
        self.is_on = is_on or (self.is_on and bool(self.several))
        if self.kind != ENABLE:
            self._heard = sent_at
        else:
            self._heard = sent_at if is_on else NEVER

    def is_silent(self, now: float) -> bool:
        """Return whether the switch is required and was not heard within its deadline.

        Args:
            now: Steady time [s].
        """
        return self._deadline > 0.0 and now - self._heard > self._deadline

    def stops(self, now: float) -> bool:
        """Return whether the arm must be held because of the switch.

        It must while the switch is pressed or closed, and while it has several publishers; if the
        switch is required, also while it is silent or has a complaint. A stop that is latched is
        not included.

        Args:
            now: Steady time [s].
        """
        is_pressed = self.is_on and self.kind != ENABLE
        return bool(is_pressed or self.several) or (
            self._deadline > 0.0 and (bool(self.complaint) or self.is_silent(now))
        )

    def silence(self, now: float) -> str:
        """Return a text for the user that says for how long the switch was silent, or that it was
        never heard.

        Args:
            now: Steady time [s].
        """
        name = self.topic
        if self._heard == NEVER:
            return (
                f"{name} is off or was never heard"
                if self.kind == ENABLE
                else f"{name} was never heard"
            )
        text = f"no word from {name} for {now - self._heard:.3f} s, at most {self._deadline:g} s"
        if self._late_s > QUEUED_S:
            return (
                f"{text}; the last one was read {self._late_s:.3f} s later than usual, by the clock"
                " of its source"
            )
        return text


class SourceLag:
    """Measure how much later than usual the messages of a topic are read, by the clocks of source
    and reader.

    The clocks need not agree: the smallest difference so far counts as usual, and grows by `DRIFT`
    while messages are at most `LATE_S` late, by `DRIFTED_S` at most. If one of the clocks is set,
    all later messages may count as late. The caller calls `forget` at a new activation and for a
    new publisher.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget the smallest difference: the next message counts as usual."""
        self._least: float | None = None
        self._lowest = math.inf  # the same without the drift of clocks
        self._at = 0.0

    def late_s(self, source_ns: int, read_ns: int, now: float) -> float:
        """Take a message, and return by how much later than usual it was read [s].

        Args:
            source_ns: Time at which it was published, by the clock of its source [ns]; 0: not
                known.
            read_ns: Time at which it was read, by the reader's clock [ns].
            now: Steady time at which it was read [s].

        Returns:
            0 for the first message; infinity if `source_ns` is not known.
        """
        if source_ns <= 0:
            return -NEVER
        lag = 1e-9 * (read_ns - source_ns)
        self._lowest = min(self._lowest, lag)
        most = min(lag, self._lowest + DRIFTED_S)
        least = lag if self._least is None else min(most, self._least + DRIFT * (now - self._at))
        if self._least is None or lag - least <= LATE_S:  # a delay that lasts is no drift of clocks
            self._least = least
        self._at = now
        return lag - least
