"""Protect the operator of trials by hand, who reaches into the reach of the arm.

The arm first stands still, then moves slowly until the operator is out of reach:

=========  ==================================  ================================  ==================
phase      begins with                         the arm                           prompt
=========  ==================================  ================================  ==================
`AWAY`     the session; the second             moves at full speed               none
           confirmation
`CALLED`   a task for the operator (`call`)    brakes, and is held               none yet
`INVITED`  the arm at rest, as measured        is held                           the task
`NEAR`     the first confirmation              moves at most at reduced speed    what to do next
=========  ==================================  ================================  ==================

Reduced speed is that of ISO 10218, 0.25 m/s for every point of the arm
(`SafetyFilter.reduce_speed`).
"""

from __future__ import annotations

import enum

import numpy as np

from sql_ros.robot.arm import RobotState
from sql_ros.robot.config import REDUCED_SPEED_M_S

RESTS_RAD_S = 0.05  # a slower joint is at rest
APART_S = 2.0  # least time between confirmations, so that one sent twice does not count as two
CONFIRM = "confirm (c and Enter, or trials/confirm)"
STEP_OUT = "step out of the arm's reach"


class PersonPhase(enum.Enum):
    """The phases of a person near the arm, see the module's table."""

    AWAY = enum.auto()
    CALLED = enum.auto()
    INVITED = enum.auto()
    NEAR = enum.auto()


class Person:
    """Tracks whether the operator may be in the reach of the arm.

    `observe` is called at every control step. The caller holds the arm while `must_stand` and
    limits its speed while `is_near`; this class commands nothing.

    Attributes:
        phase: Present phase, see the module's table.
    """

    def __init__(self) -> None:
        self.phase = PersonPhase.AWAY
        self._task = self._then = ""
        self._confirmed = 0.0

    def call(self, task: str, then: str = STEP_OUT) -> None:
        """Begin the phase `CALLED`: the operator is to do something.

        Args:
            task: What to do while the arm stands still, for the prompt.
            then: What to do while the arm moves slowly, for the prompt.
        """
        self.phase = PersonPhase.CALLED
        self._task = task
        self._then = then

    def say(self, then: str) -> None:
        """Replace the text of the prompt for the phase `NEAR`."""
        self._then = then

    @property
    def must_stand(self) -> bool:
        """Return whether the arm must be held: the phase is `CALLED` or `INVITED`."""
        return self.phase in (PersonPhase.CALLED, PersonPhase.INVITED)

    @property
    def is_near(self) -> bool:
        """Return whether the arm may move, but at most at reduced speed: the phase is `NEAR`."""
        return self.phase is PersonPhase.NEAR

    def observe(self, state: RobotState, is_at_rest: bool) -> None:
        """Go on from `CALLED` to `INVITED` once the arm is commanded and measured to rest.

        Args:
            state: State of the arm.
            is_at_rest: Whether the last command asks for no motion.
        """
        if (
            self.phase is PersonPhase.CALLED
            and is_at_rest
            and float(np.abs(state.velocity).max()) < RESTS_RAD_S
        ):
            self.phase = PersonPhase.INVITED

    def confirm(self, now: float) -> tuple[bool, str]:
        """Take a confirmation of the operator: go on from `INVITED` to `NEAR`, or from `NEAR` to
        `AWAY`.

        A second confirmation within `APART_S`, and one in another phase, changes nothing.

        Args:
            now: Steady time [s].

        Returns:
            Whether the phase has changed, and a message for the operator.
        """
        if self.phase is PersonPhase.INVITED:
            self.phase = PersonPhase.NEAR
            self._confirmed = now
            return (
                True,
                (
                    f"the arm moves, at most {REDUCED_SPEED_M_S:g} m/s; {CONFIRM} again when you"
                    " are out of its reach"
                ),
            )
        if self.phase is PersonPhase.NEAR and now - self._confirmed < APART_S:
            return (
                False,
                (
                    f"confirmed {now - self._confirmed:.1f} s ago: {CONFIRM} again when you are out"
                    " of the arm's reach"
                ),
            )
        if self.phase is PersonPhase.NEAR:
            self.phase = PersonPhase.AWAY
            return True, "the arm moves at full speed"
        if self.phase is PersonPhase.CALLED:
            return False, "the arm still moves: wait for the prompt"
        return False, "nothing is to be confirmed"

    @property
    def prompt(self) -> str:
        """Return the prompt: what the operator is to do now; empty if nothing is."""
        if self.phase is PersonPhase.INVITED:
            return f"the arm stands: {self._task}; then {CONFIRM}"
        if self.phase is PersonPhase.NEAR:
            return (
                f"{self._then}; then {CONFIRM}. Until then the arm moves at most"
                f" {REDUCED_SPEED_M_S:g} m/s"
            )
        return ""
