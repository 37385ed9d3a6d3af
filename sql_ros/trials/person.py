"""Protect a person who reaches for the arm: it stands first, then is slow until the person is out
of reach.

=========  ==================================  ================================  ==================
phase      begins with                         the arm                           prompt
=========  ==================================  ================================  ==================
`AWAY`     the session; the second             moves at full speed               none
           confirmation
`CALLED`   something that a person is to do    brakes, and is held               none yet
`INVITED`  the arm at rest, as measured        is held                           what is to be done
`NEAR`     the first confirmation              moves at most at reduced speed    what is to be done
=========  ==================================  ================================  ==================

Reduced speed is that of ISO 10218, 0.25 m/s for every point of the arm
(`SafetyFilter.reduce_speed`).
"""

from __future__ import annotations

import enum

import numpy as np

from sql_ros.robot.arm import RobotState
from sql_ros.robot.config import REDUCED_SPEED_M_S

RESTS_RAD_S = 0.05  # a joint that is not faster does not endanger a hand
APART_S = 2.0  # least time between confirmations, so that one sent twice does not count as two
CONFIRM = "confirm (c and Enter, or trials/confirm)"
STEP_OUT = "step out of the arm's reach"


class Phase(enum.Enum):
    """The phases of a person near the arm, see the module's table."""

    AWAY = enum.auto()
    CALLED = enum.auto()
    INVITED = enum.auto()
    NEAR = enum.auto()


class Person:
    """Tracks whether a person may be in reach. Asked at every control step, confirmed between two.

    Attributes:
        phase: As of the last call.
    """

    def __init__(self) -> None:
        self.phase = Phase.AWAY
        self._task = self._then = ""
        self._confirmed = 0.0

    def call(self, task: str, then: str = STEP_OUT) -> None:
        """Ask for something, as soon as the arm stands.

        Args:
            task: What to do while the arm stands.
            then: What to do while it moves slowly.
        """
        self.phase = Phase.CALLED
        self._task = task
        self._then = then

    def say(self, then: str) -> None:
        """Replace what is to be done while the arm moves slowly."""
        self._then = then

    @property
    def must_stand(self) -> bool:
        """Return whether the arm must be held."""
        return self.phase in (Phase.CALLED, Phase.INVITED)

    @property
    def is_near(self) -> bool:
        """Return whether the arm moves, at most at reduced speed."""
        return self.phase is Phase.NEAR

    def observe(self, state: RobotState, is_at_rest: bool) -> None:
        """Invite the person once the arm that is held has come to rest.

        Args:
            state: The state of the arm.
            is_at_rest: The last command asks for no motion.
        """
        if (
            self.phase is Phase.CALLED
            and is_at_rest
            and float(np.abs(state.velocity).max()) < RESTS_RAD_S
        ):
            self.phase = Phase.INVITED

    def confirm(self, now: float) -> tuple[bool, str]:
        """Go on to the next phase because the person confirms.

        Args:
            now: Steady time [s].

        Returns:
            Whether the phase has changed, and a message for the person.
        """
        if self.phase is Phase.INVITED:
            self.phase = Phase.NEAR
            self._confirmed = now
            return (
                True,
                (
                    f"the arm moves, at most {REDUCED_SPEED_M_S:g} m/s; {CONFIRM} again when you"
                    " are out of its reach"
                ),
            )
        if self.phase is Phase.NEAR and now - self._confirmed < APART_S:
            return (
                False,
                (
                    f"confirmed {now - self._confirmed:.1f} s ago: {CONFIRM} again when you are out"
                    " of the arm's reach"
                ),
            )
        if self.phase is Phase.NEAR:
            self.phase = Phase.AWAY
            return True, "the arm moves at full speed"
        if self.phase is Phase.CALLED:
            return False, "the arm still moves: wait for the prompt"
        return False, "nothing is to be confirmed"

    @property
    def prompt(self) -> str:
        """Return what the person is to do now; empty: nothing."""
        if self.phase is Phase.INVITED:
            return f"the arm stands: {self._task}; then {CONFIRM}"
        if self.phase is Phase.NEAR:
            return (
                f"{self._then}; then {CONFIRM}. Until then the arm moves at most"
                f" {REDUCED_SPEED_M_S:g} m/s"
            )
        return ""
