"""A session of trials: which trial is next, and the results so far."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.task import Task
from sql_ros.trials.protocol import BY_HAND, ProtocolConfig, check_payloads, fitted
from sql_ros.trials.trial import Trial, TrialResult, draw_trial

BROKEN_BELOW = 0.5  # success rate of a size below which the larger sizes of its kind are left out


class Session:
    """Draws all trials of a protocol, and goes from one to the next.

    Args:
        task: Task of the arm.
        mapper: Map from actions to commands of the task, with the safety filter.
        config: The protocol.
        seed: Seed of every draw.
        policy_sha256: Hash of the policy, for the results.
        by_hand: Whether an operator pushes the arm. Then only the kinds of `BY_HAND` are tried.

    Attributes:
        rows: Results of the trials so far.
        trial: Current trial; None: the session is over.
        broken: Kind to the size at which fewer than half of the trials succeeded.
        aborted: Whether the operator ended the session early.

    Raises:
        ConfigError: The protocol does not fit the arm of this task.
    """

    def __init__(
        self,
        task: Task,
        mapper: ActionMapper,
        config: ProtocolConfig,
        seed: int,
        policy_sha256: str = "",
        *,
        by_hand: bool = False,
    ) -> None:
        config = fitted(config, task)
        if by_hand:
            check_payloads(config, task)
        self._sha256 = policy_sha256
        self._kinds = {
            kind: sizes for kind, sizes in config.sizes().items() if kind in BY_HAND or not by_hand
        }
        self.rows: list[TrialResult] = []
        self.broken: dict[str, float] = {}
        self.aborted = False
        # drawn all at once, so that an error of a draw is raised before the arm moves
        self._drawn = {
            (kind, size): [
                draw_trial(task, mapper, config, kind, size, repeat, seed)
                for repeat in range(config.repeats)
            ]
            for kind, sizes in self._kinds.items()
            for size in sizes
        }
        self._plan = self._trials()
        self.trial: Trial | None = next(self._plan, None)

    @property
    def most_trials(self) -> int:
        """Return the number of trials if no larger sizes are left out."""
        return sum(
            len(self._drawn[kind, size]) for kind, sizes in self._kinds.items() for size in sizes
        )

    def close(
        self,
        success: bool,
        recovery_s: float,
        deviation_m: float,
        interventions: int,
        push_seen_by: str = "",
        outcome: str = "",
    ) -> TrialResult:
        """Append the result of the current trial to `rows`, and go on to the next trial.

        Call it only while `trial` is not None.

        Args:
            success: Whether the arm recovered.
            recovery_s: Time of recovery [s]; ignored without success.
            deviation_m: Largest distance from the target since the disturbance [m].
            interventions: Number of commands that the safety filter changed.
            push_seen_by: How a push by hand was detected; empty: there was none.
            outcome: How the episode ended, see `EpisodeSummary.outcome`; empty: it was given up.

        Returns:
            The result. Its recovery time is NaN without success.
        """
        trial = self.trial
        assert trial is not None
        row = TrialResult(
            kind=trial.kind,
            size=trial.size,
            repeat=trial.repeat,
            seed=trial.seed,
            success=success,
            recovery_s=recovery_s if success else math.nan,
            deviation_m=deviation_m,
            interventions=interventions,
            policy_sha256=self._sha256,
            push_seen_by=push_seen_by,
            outcome=outcome,
        )
        self.rows.append(row)
        self.trial = next(self._plan, None)
        return row

    def skip(self) -> None:
        """Go on to the next trial; the current one gets no result."""
        self.trial = next(self._plan, None)

    def abort(self) -> None:
        """End the session; the results are kept."""
        self._plan = iter(())
        self.trial = None
        self.aborted = True

    def _trials(self) -> Iterator[Trial]:
        """Yield the trials of each kind in rising order of size, up to the first size of which
        fewer than half succeeded; record that size in `broken`. Skipped trials do not count.
        """
        for kind, sizes in self._kinds.items():
            for size in sizes:
                yield from self._drawn[kind, size]
                successes = [
                    row.success for row in self.rows if (row.kind, row.size) == (kind, size)
                ]
                if successes and np.mean(successes) < BROKEN_BELOW:
                    self.broken[kind] = size
                    break
