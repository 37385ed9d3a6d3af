"""What the control loops of `lockstep_loop.py` and `realtime_loop.py` have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sql_ros.nodes.arm_link import ArmLink
from sql_ros.nodes.barrier import LearnerBarrier
from sql_ros.nodes.command_output import CommandOutput
from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.guard import Guard
from sql_ros.nodes.state_intake import StateIntake
from sql_ros.nodes.step_meter import StepMeter
from sql_ros.nodes.transition_outbox import TransitionOutbox
from sql_ros.robot.arm import RobotState
from sql_ros.robot.control.cache_warmer import Rehearsal
from sql_ros.robot.control.episode_actor import Actor, Step


@dataclass(frozen=True)
class LoopParts:
    """Parts of a control loop.

    Attributes:
        actor: Answers states.
        states: Has the newest state.
        guard: Says whether the arm must be held.
        link: The way to the arm.
        output: Sends commands.
        outbox: Has a thread for the work that follows a command.
        barrier: No command leaves while it is closed.
        meter: Measures the steps.
        diagnostics: Counts faults.
        lock: Held while a control step is made.
        ended: Set while the node is not active.
        deliver: Publishes what a step gave beside its command.
        stepped: Called after a step or a hold whose command is out.
    """

    actor: Actor
    states: StateIntake
    guard: Guard
    link: ArmLink
    output: CommandOutput
    outbox: TransitionOutbox
    barrier: LearnerBarrier
    meter: StepMeter
    diagnostics: Diagnostics
    lock: threading.Lock
    ended: threading.Event
    deliver: Callable[[Step], None]
    stepped: Callable[[], None]


class ControlLoop:
    """Answer states with commands; the base of both control loops.

    Args:
        parts: See `LoopParts`.

    Attributes:
        rehearsal: Of control steps; None without one.
        waits_since: Steady time since when a command is held back for the learner [s]; None while
            none is.
    """

    def __init__(self, parts: LoopParts) -> None:
        self._actor = parts.actor
        self._states = parts.states
        self._guard = parts.guard
        self._link = parts.link
        self._output = parts.output
        self._outbox = parts.outbox
        self._barrier = parts.barrier
        self._meter = parts.meter
        self._diagnostics = parts.diagnostics
        self._lock = parts.lock
        self._ended = parts.ended
        self._deliver = parts.deliver
        self._stepped = parts.stepped
        self._safety = parts.actor.safety
        self._period_s = 1.0 / parts.actor.task.config.control_rate_hz  # in the time of the arm
        self._clock = parts.guard.clock
        self.rehearsal: Rehearsal | None = None
        self.waits_since: float | None = None

    def prepare(self) -> None:
        """Forget the last activation."""
        raise NotImplementedError

    def on_state(self, state: RobotState, arrived: float) -> None:
        """Take a good state that arrived at a steady time [s]."""
        raise NotImplementedError

    def begin(self) -> None:
        """Note that the barrier of a training has opened."""

    def on_progress(self) -> None:
        """Note a report of the learner."""

    def release(self) -> None:
        """Send a command that was held back for the learner, if it need wait no longer."""

    def stop_at_once(self) -> None:
        """Make the hold that a stop leads to, before the next step is due."""

    def values(self) -> dict[str, str | int]:
        """Return measures and counts of the steps by key of /diagnostics."""
        meter, rehearsal, standby = self._meter, self.rehearsal, self._output.standby
        interventions = dict(self._safety.interventions)
        return {
            **meter.values(),
            "rehearsed_parts": rehearsal.parts if rehearsal is not None else 0,
            "clock": "/clock" if self._clock.follows else "steady",
            "control_steps": meter.periods.count,
            "stood_in": standby.count if standby is not None else 0,
            "missed_deadlines": meter.periods.missed,
            "episodes_given_up": self._actor.given_up,
            "transitions_skipped": self._actor.skipped,
            **{f"safety/{kind}": count for kind, count in interventions.items()},
        }

    def _limit_speed(self) -> None:
        """Let the arm be as fast in this step as it may be since it last stood."""
        period_s = 0.0 if self._safety.is_at_rest else self._period_s
        self._safety.limit_speed(self._guard.ramp.advance(period_s))
        self._safety.slow(self._link.speeds)
