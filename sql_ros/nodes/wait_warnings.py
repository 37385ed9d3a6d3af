"""Warnings about what the actor waits for: states, or the learner."""

from __future__ import annotations

import time

from sql_ros.nodes.control_loop import ControlLoop
from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.state_intake import StateIntake
from sql_ros.nodes.transition_outbox import TransitionOutbox

WARN_EVERY_S = 5.0  # between two warnings, and the shortest silence that is one


class WaitWarnings:
    """Warn of a silent publisher of states and of a learner that is silent or behind.

    Args:
        diagnostics: Counts and logs.
        states: Knows when a state was heard.
        loop: Knows whether a command is held back for the learner.
        outbox: Knows what the learner has.
        progress_topic: Name of the learner's reports.
        is_lockstep: In real time only a missing first state is a warning; a later silence is a
            hold.
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
        """Warn of the first of the waits that has lasted for `WARN_EVERY_S`."""
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
        """Return whether no state has come for long, at a steady time [s]."""
        is_silent = now - self._states.heard > WARN_EVERY_S
        return is_silent and (self._is_lockstep or self._states.newest is None)

    def _is_learner_stuck(self, waited_s: float, now: float) -> bool:
        """Return whether the learner has long kept a command waiting [s] and does not advance.

        It advances if it lacks transitions and lately had more of them, at a steady time [s].
        """
        if waited_s <= WARN_EVERY_S:
            return False
        return not (self._outbox.lacking > 0 and now - self._outbox.advanced < WARN_EVERY_S)
