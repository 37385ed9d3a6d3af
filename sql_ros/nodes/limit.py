"""End a training after a number of transitions: the actor publishes no more and holds the arm."""

from __future__ import annotations

from collections.abc import Mapping

from sql_ros.nodes.messages import Progress
from sql_ros.robot.safety.state_watchdog import NO_REASONS


class TransitionLimit:
    """The limit of the transitions of a run, over all actors and earlier sessions.

    Args:
        most: Largest number of transitions; 0: no limit.
        run: Number that identifies this actor process in progress reports.
    """

    def __init__(self, most: int, run: int) -> None:
        self._most = most
        self._run = run
        why = f"{most} transitions were made, the limit of most_transitions"
        self._reasons = {"limit_reached": why}

    def is_reached(self, progress: Progress, sequence: int) -> bool:
        """Return whether the run has at least as many transitions as the limit.

        Args:
            progress: Newest progress report of the learner.
            sequence: Sequence number of the last transition that this actor made, which the report
                may not count yet.
        """
        if not self._most:
            return False
        others = progress.transitions - progress.acknowledged.get(self._run, 0)
        return others + sequence >= self._most

    def reasons(self, progress: Progress, sequence: int) -> Mapping[str, str]:
        """Return why the arm must be held: hold kind (`limit_reached`) to description, empty below
        the limit.

        Args:
            progress: See `is_reached`.
            sequence: See `is_reached`.
        """
        return self._reasons if self.is_reached(progress, sequence) else NO_REASONS
