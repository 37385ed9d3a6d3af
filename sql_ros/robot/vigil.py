"""When a command watchdog sends zeros: it hears a control loop's heartbeats and decides.

==========  ====================================================  ==========================
phase       begins with                                           sends zeros
==========  ====================================================  ==========================
`RESTING`   the start; `REST` from the control loop               no
`WATCHING`  `BEAT` from the control loop                          no
`SILENT`    no beat for longer than the timeout                   until a beat or `REST`
`ORPHANED`  the control loop's process ended while it was not at  for `ORPHAN_S`, then ends
            rest
`ENDED`     its end while at rest, or after `ORPHANED`            no
==========  ====================================================  ==========================
"""

from __future__ import annotations

import enum

BEAT, REST, PROVE = b"b", b"r", b"p"  # what a control loop says; the last is not the vigil's
TIMEOUT_S = 0.12  # without a beat; with the way of a command, zeros come within 0.2 s
ORPHAN_S = 1.0
ZEROS_S = 0.02  # between two zero commands
LONGEST_S = 1.0  # of one wait for words
LOOK_S = 0.05  # between two looks for the controller while nothing is watched


class Phase(enum.Enum):
    """Of a vigil."""

    RESTING = enum.auto()
    WATCHING = enum.auto()
    SILENT = enum.auto()
    ORPHANED = enum.auto()
    ENDED = enum.auto()


class Vigil:
    """Decides; times are given in, from a steady clock [s].

    Args:
        timeout_s: The longest between two beats of a control loop that works [s]; infinite: only its
            end is noticed, as where a foreign clock paces it.

    Attributes:
        phase: As of the last call.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout = timeout_s
        self.phase = Phase.RESTING
        self._since = 0.0  # the last beat, or the end of the process

    @property
    def sends_zeros(self) -> bool:
        """Return whether zeros are to be sent now."""
        return self.phase in (Phase.SILENT, Phase.ORPHANED)

    def heard(self, words: bytes, now: float) -> None:
        """Take what came from the control loop; nothing means that its process ended."""
        if words:
            self.phase = Phase.RESTING if words.endswith(REST) else Phase.WATCHING
            self._since = now
        elif self.phase is Phase.RESTING:
            self.phase = Phase.ENDED
        elif self.phase in (Phase.WATCHING, Phase.SILENT):
            self.phase, self._since = Phase.ORPHANED, now

    def pass_time(self, now: float) -> None:
        """Take that nothing came until now."""
        silence = now - self._since
        if self.phase is Phase.WATCHING and silence > self._timeout:
            self.phase = Phase.SILENT
        elif self.phase is Phase.ORPHANED and silence > ORPHAN_S:
            self.phase = Phase.ENDED

    def wait_s(self, now: float) -> float:
        """Return how long to wait for the control loop's words before the next look or zero [s]."""
        if self.sends_zeros:
            return ZEROS_S
        if self.phase is Phase.WATCHING:
            return min(max(self._since + self._timeout - now, 0.0) + 1e-4, LONGEST_S)
        return LOOK_S
