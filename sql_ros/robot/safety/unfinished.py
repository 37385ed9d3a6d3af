"""A note on disk that a real arm is being commanded. It remains if the actor does not end in order.

=========================================================  ==========================
end of an actor                                            the next actor of the arm
=========================================================  ==========================
Ctrl-C (SIGINT), the end of trials, a deactivation         moves after its checks
the same, while anything held the arm                      waits for `~/start`
an error, another signal (SIGTERM, SIGKILL, ...), a crash  waits for `~/start`
=========================================================  ==========================

The next actor also waits if a supervisor started it, because a supervisor that restarts a process
must not start an arm. Only a person at a terminal ends an actor by Ctrl-C. The file is
`$XDG_STATE_HOME/sql_ros/commanded/<hash>.txt`, one for each arm, whatever the command mode. An arm
is identified by its joint names, the topic of its states and the ROS domain. The file is written at
activation, never in the control path.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sql_ros.robot.measured import state_folder

HASH_LENGTH = 16  # hash digits in a file's name


class Unfinished:
    """The note of one arm. Without a state folder (`measured.state_folder`) nothing is read or
    written.

    Args:
        states: Resolved topic of its joint states.
        joints: Joint names on that topic.
        commands: Resolved topic of its commands, for the text of the note.
    """

    def __init__(self, states: str, joints: Sequence[str], commands: str) -> None:
        folder = state_folder()
        domain = os.environ.get("ROS_DOMAIN_ID", "0")
        name = hashlib.sha256(" ".join((domain, states, *joints)).encode()).hexdigest()[
            :HASH_LENGTH
        ]
        self._actor = f"the last actor of {commands}"
        self._path: Path | None = folder / "commanded" / f"{name}.txt" if folder else None

    def read(self) -> str:
        """Return the note that the last actor left, in words; empty if there is none or it
        cannot be read.
        """
        if self._path is None:
            return ""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return self._path.read_text().strip()
        return ""

    def begin(self) -> bool:
        """Write that the arm is commanded from now on, and return whether that succeeded."""
        now = datetime.now().isoformat(timespec="seconds")
        return self._write(f"{self._actor}, of {now}, did not end in order")

    def end(self, reason: str) -> None:
        """Remove the note, or write why the next actor must wait. Errors of the file system are
        ignored.

        Args:
            reason: Reason to wait, as "while ..." or "by ..."; empty: the note is removed.
        """
        if reason:
            self._write(f"{self._actor} ended {reason}")
        elif self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _write(self, text: str) -> bool:
        """Replace the note by a text in one step, and return whether that succeeded."""
        if self._path is None:
            return False
        part = self._path.with_suffix(f".{os.getpid()}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text + "\n")
            part.replace(self._path)
        except OSError:
            return False
        return True
