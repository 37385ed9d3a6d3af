"""The end of a training by its number of transitions: the actor makes no more and holds the arm."""

from __future__ import annotations

from collections.abc import Mapping

from sql_ros.nodes.messages import Progress
from sql_ros.robot.watchdog import NO_REASONS


class TransitionLimit:
    """Counts the transitions of a run: of this actor, of other actors and of earlier sessions.

    Args:
        most: at which no more are made; 0: no limit.
        run: names this actor process in the learner's progress.
    """

    def __init__(self, most: int, run: int) -> None:
        self._most, self._run = most, run
        why = f"{most} transitions were made, as asked for by most_transitions"
        self._reasons = {"limit_reached": why}

    def is_reached(self, progress: Progress, sequence: int) -> bool:
        """Return whether the run has as many as it may have.

        Args:
            progress: of the learner, the newest.
            sequence: of the last transition that this actor made.
        """
        if not self._most:
            return False
        others = progress.transitions - progress.acknowledged.get(self._run, 0)
        return others + sequence >= self._most

    def reasons(self, progress: Progress, sequence: int) -> Mapping[str, str]:
        """Return why the arm is held, see `Guard.conditions`."""
        return self._reasons if self.is_reached(progress, sequence) else NO_REASONS
