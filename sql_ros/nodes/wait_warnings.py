"""Warn about what the actor waits for: states, or the learner."""

from __future__ import annotations

import time

from sql_ros.nodes.control_loop import ControlLoop
from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.state_intake import StateIntake
from sql_ros.nodes.transition_outbox import TransitionOutbox

WARN_EVERY_S = 5.0  # time between two warnings, and shortest wait that causes one


class WaitWarnings:
    """Warns of missing states, and of a learner that is silent or behind.

    Args:
        diagnostics: Counts and logs the warnings.
        states: Intake of states; gives the time of the last one.
        loop: Control loop; tells whether a command waits for the learner.
        outbox: Outbox; tells which transitions the learner lacks.
        progress_topic: Resolved topic of the learner's reports.
        is_lockstep: Whether every silence of the states is a warning. In real time only a missing
            first state is; a later silence is a hold.
    """

    def __init__(
        self,
        diagnostics: Diagnostics,
        states: StateIntake,
        loop: ControlLoop,
        outbox: TransitionOutbox,
        progress_topic: str,
        *,
        is_lockstep: bool,
    ) -> None:
        self._diagnostics = diagnostics
        self._states = states
        self._loop = loop
        self._outbox = outbox
        self._topic = progress_topic
        self._is_lockstep = is_lockstep

    def warn(self) -> None:
        """Count a fault for the first wait that has lasted for `WARN_EVERY_S`: for states, of a
        command for the learner (both `waiting`), or of transitions for an acknowledgement
        (`learner_silent`).
        """
        now = time.monotonic()
        waits_since = self._loop.waits_since
        if waits_since is None and self._lacks_states(now):
            self._diagnostics.fault("waiting", self._states.silence(now))
        elif waits_since is not None and self._is_learner_stuck(now - waits_since, now):
            waited_s = now - waits_since
            self._diagnostics.fault(
                "waiting",
                f"for {waited_s:.0f} s the learner is behind, by {self._topic}: is it running?",
            )
        elif self._outbox.lacking and now - self._outbox.heard > WARN_EVERY_S:
            silent_s = now - self._outbox.heard
            self._diagnostics.fault(
                "learner_silent",
                f"nothing on {self._topic} for {silent_s:.0f} s; {self._outbox.lacking}"
                " transitions are kept for it",
            )

    def _lacks_states(self, now: float) -> bool:
        """Return whether missing states are worth a warning.

        Args:
            now: Steady time [s].
        """
        is_silent = now - self._states.heard > WARN_EVERY_S
        return is_silent and (self._is_lockstep or self._states.newest is None)

    def _is_learner_stuck(self, waited_s: float, now: float) -> bool:
        """Return whether a command has waited for the learner for `WARN_EVERY_S`, and the learner
        has not acknowledged more transitions lately.

        Args:
            waited_s: How long the command has waited [s].
            now: Steady time [s].
        """
        if waited_s <= WARN_EVERY_S:
            return False
        return not (self._outbox.lacking > 0 and now - self._outbox.advanced < WARN_EVERY_S)
