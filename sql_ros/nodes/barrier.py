"""The barrier of a training: no command leaves before a learner of this session accepted the run.

A learner publishes progress only while it is active. By then it has accepted its settings and its
run folder. The stack gives the same `session` to learner and actor. An actor without a session was
started by hand, and accepts any learner.
"""

from __future__ import annotations

from collections.abc import Mapping

from sql_ros.nodes.messages import Progress
from sql_ros.robot.safety.state_watchdog import NO_REASONS


class LearnerBarrier:
    """Holds the arm from each activation of a training until the first report of its learner.

    Args:
        session: Session of this start of the stack. Empty: any learner is accepted.
        topic: Topic of the reports, for the description.
        trains: False: no learner is needed, and the barrier is always open.

    Attributes:
        reasons: Why the arm is held, by kind; empty while the barrier is open.
    """

    def __init__(self, session: str, topic: str, *, trains: bool) -> None:
        self._session = session
        self._topic = topic
        self._trains = trains
        self.reasons: Mapping[str, str] = NO_REASONS
        self.close()

    def close(self) -> None:
        """Close the barrier of a training, at the start of an activation."""
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
        """Open the barrier after a report of the right learner; return whether it was closed."""
        was_closed = bool(self.reasons)
        self.reasons = NO_REASONS
        return was_closed
