"""The barrier of a training: no command leaves before a learner of this session accepted the run.

A learner publishes progress only while it is active, thus after it accepted its settings and its
run folder. The stack gives the same `session` to learner and actor. An actor without a session,
started by hand, takes any learner.
"""

from __future__ import annotations

from collections.abc import Mapping

from sql_ros.nodes.messages import Progress
from sql_ros.robot.watchdog import NO_REASONS


class LearnerBarrier:
    """Closed from each activation of a training until the first report of its learner.

    Args:
        trains: false: there is no learner to wait for, and the barrier is always open.
        session: of this start of the stack; empty: any learner will do.
        topic: of the reports, for the description.

    Attributes:
        reasons: kind to description while the barrier is closed, otherwise empty.
    """

    def __init__(self, session: str, topic: str, *, trains: bool) -> None:
        self._session, self._topic, self._trains = session, topic, trains
        self.reasons: Mapping[str, str] = NO_REASONS
        self.close()

    def close(self) -> None:
        """Wait for a report, at the start of an activation."""
        if self._trains:
            whose = f"of session {self._session} " if self._session else ""
            why = f"no learner {whose}has accepted the run on {self._topic}: nothing is sent"
            self.reasons = {"learner_missing": why}

    def complaint(self, progress: Progress) -> str:
        """Return why a report is not from the learner of this session; empty if it is."""
        if not self._session or progress.session == self._session:
            return ""
        other = progress.session or "none"
        return f"the learner on {self._topic} has session {other}, expected {self._session}"

    def open(self) -> bool:
        """Take a report of the right learner; return whether the barrier was closed."""
        was_closed = bool(self.reasons)
        self.reasons = NO_REASONS
        return was_closed
