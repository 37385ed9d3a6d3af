"""The way to the start pose of an episode, also where the safety filter stops the straight one."""

from __future__ import annotations

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.control.action_mapper import Drive
from sql_ros.robot.control.homing import LONGEST_S, Trail, has_arrived

BACK = "back"  # along the trail
# joints that go to the start pose (see `Drive.approach`), or `BACK`; tried one after the other
STRATEGIES = ("all", BACK, "near", "far")
STUCK_S = 0.5  # time at rest on the way after which the next strategy is tried


class WayToStart:
    """The way to the start poses of one actor's episodes.

    The arm moves straight there. Where the filter stops it on the way, it goes back along its
    trail, or moves a part of the joints first: see `STRATEGIES`.

    Args:
        drive: Makes the commands.
        period_s: Of control [s].

    Attributes:
        trail: Of the arm; the actor adds what it passes during episodes.
        steps: Control steps on the way to this start pose.
        rested: Control steps at rest at the start pose, without a break up to now.
    """

    def __init__(self, drive: Drive, period_s: float) -> None:
        self._drive = drive
        self._period_s = period_s
        self.trail = Trail()
        self.begin()

    def begin(self) -> None:
        """Begin the way to the start pose of the next episode."""
        self.steps = 0
        self.rested = 0
        self._stood = 0  # control steps at rest elsewhere, without a break up to now
        self._strategy = 0  # index into STRATEGIES

    def restart(self) -> None:
        """Allow the full time again: the same episode is tried anew."""
        self.steps = 0

    def skip(self) -> None:
        """Let the time be up: the episode begins where the arm is."""
        self.steps = round(LONGEST_S / self._period_s)

    @property
    def is_too_long(self) -> bool:
        """Return whether the time for the way is up."""
        return self.steps * self._period_s >= LONGEST_S

    def look(self, start: Vector, state: RobotState) -> bool:
        """Return whether the arm is at the start pose (N,) [rad]; count steps at rest there."""
        arrived = has_arrived(start, state)
        self.rested = self.rested + 1 if arrived else 0
        return arrived

    def command(self, start: Vector, state: RobotState) -> Vector:
        """Return the command (N,) of a control step on the way, in the unit of the mode.

        Args:
            start: Start pose (N,) [rad].
            state: Of the arm.
        """
        self.steps += 1
        stands = self._drive.safety.is_nearly_at_rest and not has_arrived(start, state)
        self._stood = self._stood + 1 if stands else 0
        if self._stood * self._period_s > STUCK_S:
            self._stood = 0
            self._strategy = (self._strategy + 1) % len(STRATEGIES)
        if STRATEGIES[self._strategy] == BACK:
            pose = self.trail.before(state.position)
            if pose is not None:
                return self._drive.approach(pose, state)
            # the trail has ended: straight again if it led anywhere, otherwise the next strategy
            self._strategy = 0 if self.trail.clear() else self._strategy + 1
        else:
            self.trail.add(state.position)
        return self._drive.approach(start, state, STRATEGIES[self._strategy])
