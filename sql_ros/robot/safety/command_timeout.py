"""Decide from a control loop's heartbeats when a command watchdog sends zero commands.

The watchdog is a process of its own, which receives these messages from the process of the control
loop.

==========  ====================================================  ==========================
phase       begins with                                           sends zeros
==========  ====================================================  ==========================
`RESTING`   the start; `REST` from the control loop               no
`WATCHING`  `BEAT` from the control loop                          no
`SILENT`    no beat for longer than the timeout                   until a beat or `REST`
`ORPHANED`  the end of the control loop's process in another      for `ORPHAN_S`, then ends
            phase than `RESTING`
`ENDED`     the end of that process in phase `RESTING`; the end   no
            of `ORPHANED`
==========  ====================================================  ==========================
"""

from __future__ import annotations

import enum
from collections import deque

# messages of a control loop; `HeartbeatMonitor` does not use PROVE
BEAT = b"b"
REST = b"r"
PROVE = b"p"
# longest time without a beat; with the delay of a command, zeros arrive within 0.2 s
TIMEOUT_S = 0.12
ORPHAN_S = 1.0  # time for which zeros are sent after the end of the control loop's process
ZEROS_S = 0.02  # time between two zero commands
LONGEST_S = 1.0  # longest wait for a message
CHECK_S = 0.05  # time between two checks of the controller while nothing is watched
# number of last gaps between beats whose median is used: one stall does not change the median
GAPS = 3


class MonitorPhase(enum.Enum):
    """The phases of a monitor, see the module's table."""

    RESTING = enum.auto()
    WATCHING = enum.auto()
    SILENT = enum.auto()
    ORPHANED = enum.auto()
    ENDED = enum.auto()


class SilenceLimit:
    """The longest silence after which a control loop still counts as working.

    The pace of a loop may change where the arm's clock paces it. The timeout then follows the pace.

    Args:
        least_s: Timeout without additions [s].
        gaps: The timeout is longer by this many gaps between beats; 0: the timeout never changes.

    Attributes:
        timeout_s: Present timeout [s].
    """

    def __init__(self, least_s: float, gaps: float = 0.0) -> None:
        self._least = least_s
        self._factor = gaps
        self._gaps = deque([0.0] * GAPS, maxlen=GAPS)
        self.timeout_s = least_s

    def take(self, gap_s: float) -> None:
        """Take the time between two beats [s], and update the timeout by the median of the
        last `GAPS`.
        """
        if not self._factor:
            return
        self._gaps.append(gap_s)
        self.timeout_s = self._least + self._factor * sorted(self._gaps)[GAPS // 2]


class HeartbeatMonitor:
    """Decide from heartbeats whether zeros are to be sent. Times are steady time [s], given by the
    caller.

    Args:
        timeout_s: Longest time between two beats of a control loop that works [s].
        gaps: Number of gaps between beats by which that time is longer, see `SilenceLimit`.

    Attributes:
        phase: Phase after the last call.
    """

    def __init__(self, timeout_s: float, gaps: float = 0.0) -> None:
        self._limit = SilenceLimit(timeout_s, gaps)
        self.phase = MonitorPhase.RESTING
        self._since = 0.0  # time of the last beat, or of the end of the process [s]

    @property
    def sends_zeros(self) -> bool:
        """Return whether zero commands are to be sent in the present phase."""
        return self.phase in (MonitorPhase.SILENT, MonitorPhase.ORPHANED)

    def heard(self, message: bytes, now: float) -> None:
        """Take what came from the control loop, and change the phase.

        Args:
            message: One or more of `BEAT` and `REST`, of which the last counts. Empty: the loop's
                process ended.
            now: Steady time [s].
        """
        if message:
            if self.phase is not MonitorPhase.RESTING:
                self._limit.take(now - self._since)
            self.phase = MonitorPhase.RESTING if message.endswith(REST) else MonitorPhase.WATCHING
            self._since = now
        elif self.phase is MonitorPhase.RESTING:
            self.phase = MonitorPhase.ENDED
        elif self.phase in (MonitorPhase.WATCHING, MonitorPhase.SILENT):
            self.phase = MonitorPhase.ORPHANED
            self._since = now

    def pass_time(self, now: float) -> None:
        """Take that nothing has come from the control loop until now, and change the phase if that
        was too long.

        The phase `WATCHING` becomes `SILENT` after the timeout. The phase `ORPHANED` becomes
        `ENDED` after `ORPHAN_S`.

        Args:
            now: Steady time [s].
        """
        silence = now - self._since
        if self.phase is MonitorPhase.WATCHING and silence > self._limit.timeout_s:
            self.phase = MonitorPhase.SILENT
        elif self.phase is MonitorPhase.ORPHANED and silence > ORPHAN_S:
            self.phase = MonitorPhase.ENDED

    def wait_s(self, now: float) -> float:
        """Return how long to wait for a message before the next check or zero command [s].

        Args:
            now: Steady time [s].
        """
        if self.sends_zeros:
            return ZEROS_S
        if self.phase is MonitorPhase.WATCHING:
            return min(max(self._since + self._limit.timeout_s - now, 0.0) + 1e-4, LONGEST_S)
        return CHECK_S
