"""The end of a training after a number of transitions: the actor makes no more and holds the
arm.
"""

from __future__ import annotations

from collections.abc import Mapping

from sql_ros.nodes.messages import Progress
from sql_ros.robot.safety.state_watchdog import NO_REASONS


class TransitionLimit:
    """Counts the transitions of a run, including those of other actors and of earlier sessions.

    Args:
        most: Number at which no more are made; 0: no limit.
        run: Number of this actor process in the learner's progress.
    """

    def __init__(self, most: int, run: int) -> None:
        self._most = most
        self._run = run
        why = f"{most} transitions were made, the limit of most_transitions"
        self._reasons = {"limit_reached": why}

    def is_reached(self, progress: Progress, sequence: int) -> bool:
        """Return whether the run has all the transitions it may have.

        Args:
            progress: Newest progress of the learner.
            sequence: Sequence number of the last transition that this actor made.
        """
        if not self._most:
            return False
        others = progress.transitions - progress.acknowledged.get(self._run, 0)
        return others + sequence >= self._most

    def reasons(self, progress: Progress, sequence: int) -> Mapping[str, str]:
        """Return why the arm must be held, see `Guard.conditions`; the arguments are those of
        `is_reached`.
        """
        return self._reasons if self.is_reached(progress, sequence) else NO_REASONS
