"""The way to the start pose of an episode, with detours where the safety filter blocks the straight
way.
"""

from __future__ import annotations

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.control.homing import LONGEST_S, Trail, has_arrived

BACK = "back"  # strategy: go back along the trail
# joints that move to the start pose (see `ActionMapper.approach`), or `BACK`; tried in this order
STRATEGIES = ("all", BACK, "near", "far")
STUCK_S = 0.5  # time at rest on the way after which the next strategy is tried


class WayToStart:
    """Move the arm to the start poses of an actor's episodes.

    The arm moves straight to the start pose. Where the arm rests elsewhere for `STUCK_S`, because
    the filter blocks the motion, the next of `STRATEGIES` is tried: back along the trail, or a part
    of the joints first.

    Args:
        mapper: Makes the commands.
        period_s: Control period [s].

    Attributes:
        trail: Poses that the arm passed. The actor adds those of episodes.
        steps: Number of commands on the way to the present start pose. After `skip`, the number at
            which the time is up.
        rested: Number of consecutive control steps at rest at the start pose, up to now.
    """

    def __init__(self, mapper: ActionMapper, period_s: float) -> None:
        self._mapper = mapper
        self._period_s = period_s
        self.trail = Trail()
        self.begin()

    def begin(self) -> None:
        """Reset counts and strategy for the way to the start pose of the next episode. The trail
        stays.
        """
        self.steps = 0
        self.rested = 0
        self._stood = 0  # control steps at rest elsewhere, without a break up to now
        self._strategy = 0  # index into STRATEGIES

    def restart(self) -> None:
        """Allow `LONGEST_S` again, because the same episode is tried again. The strategy stays."""
        self.steps = 0

    def skip(self) -> None:
        """Use up the time for the way, so that the episode begins where the arm is."""
        self.steps = round(LONGEST_S / self._period_s)

    @property
    def is_too_long(self) -> bool:
        """Return whether the arm was on the way for `LONGEST_S` or longer."""
        return self.steps * self._period_s >= LONGEST_S

    def count_rest(self, start: Vector, state: RobotState) -> bool:
        """Update `rested`, and return whether the arm is at rest at the start pose.

        Call this once per control step.

        Args:
            start: Start pose (N,) [rad].
            state: The last state of the arm.
        """
        arrived = has_arrived(start, state)
        self.rested = self.rested + 1 if arrived else 0
        return arrived

    def command(self, start: Vector, state: RobotState) -> Vector:
        """Return the command of a control step on the way, and record it in the safety filter as
        sent.

        The command is counted in `steps`. After `STUCK_S` at rest elsewhere the next strategy is
        used, and after the last one the first again. The pose is added to the trail, except on the
        way back along the trail. At the end of that way the trail is cleared, and the arm moves
        straight again. If the trail had one pose at most, the next strategy is used instead.

        Args:
            start: Start pose (N,) [rad].
            state: The last state of the arm.

        Returns:
            Command (N,), in the unit of the command mode.
        """
        self.steps += 1
        stands = self._mapper.safety.is_nearly_at_rest and not has_arrived(start, state)
        self._stood = self._stood + 1 if stands else 0
        if self._stood * self._period_s > STUCK_S:
            self._stood = 0
            self._strategy = (self._strategy + 1) % len(STRATEGIES)
        if STRATEGIES[self._strategy] == BACK:
            pose = self.trail.before(state.position)
            if pose is not None:
                return self._mapper.approach(pose, state)
            # at the end of the trail: straight again if the trail led anywhere, otherwise the next
            # strategy
            self._strategy = 0 if self.trail.clear() else self._strategy + 1
        else:
            self.trail.add(state.position)
        return self._mapper.approach(start, state, STRATEGIES[self._strategy])
