"""The barrier of a training: no command is sent before the learner has accepted the run.

The first progress report of a learner means that it has accepted its settings and its run folder,
because a learner publishes reports only while it is active. The stack gives the same `session` (a
text, new at each start of the stack) to learner and actor, and reports of another session are not
accepted. An actor without a session was started by hand, and accepts any learner.
"""

from __future__ import annotations

from collections.abc import Mapping

from sql_ros.nodes.messages import Progress
from sql_ros.robot.safety.state_watchdog import NO_REASONS


class LearnerBarrier:
    """Closed from each activation of a training actor until the first report of its learner.

    While the barrier is closed, the control loops send nothing.

    Args:
        session: Session of this start of the stack. Empty: any learner is accepted.
        topic: Topic of the reports, for messages to the user.
        trains: Whether the actor trains. Otherwise the barrier is always open.

    Attributes:
        reasons: Hold kind (`learner_missing`) to description; empty while the barrier is open.
    """

    def __init__(self, session: str, topic: str, *, trains: bool) -> None:
        self._session = session
        self._topic = topic
        self._trains = trains
        self.reasons: Mapping[str, str] = NO_REASONS
        self.close()

    def close(self) -> None:
        """Close the barrier if the actor trains, at the start of an activation."""
        if self._trains:
            whose = f"of session {self._session} " if self._session else ""
            why = f"no learner {whose}has accepted the run on {self._topic}: nothing is sent"
            self.reasons = {"learner_missing": why}

    def complaint(self, progress: Progress) -> str:
        """Return in words why a report is not from the learner of this session; empty if it is."""
        if not self._session or progress.session == self._session:
            return ""
        other = progress.session or "none"
        return f"the learner on {self._topic} has session {other}, expected {self._session}"

    def open(self) -> bool:
        """Open the barrier, after a report of the right learner.

        Returns:
            Whether the barrier was closed before.
        """
        was_closed = bool(self.reasons)
        self.reasons = NO_REASONS
        return was_closed
