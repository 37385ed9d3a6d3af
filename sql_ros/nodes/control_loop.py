"""The base class of the control loops of `lockstep_loop.py` and `realtime_loop.py`."""

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
from sql_ros.robot.control.cache_warmer import CacheWarmer
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.control.step import Step

STEP_S = 1.0  # longest wait of another thread for the end of a control step under way


@dataclass(frozen=True)
class LoopParts:
    """Parts of the actor node that a control loop uses.

    Attributes:
        actor: Selects actions and makes transitions.
        states: Intake of states; the loop gives it the state that may be acted on (`take`).
        guard: Tells whether the arm must be held.
        link: Link to the arm.
        output: Sends commands.
        outbox: Has the delivery thread, for the work that follows a command.
        barrier: Nothing is sent while this barrier is closed.
        meter: Measures periods, latency and inference time.
        diagnostics: Counts faults.
        lock: Held during a control step.
        ended: Set while the node is not active; no control step is then made.
        deliver: Publishes transition, target and episode summary of a step.
        stepped: Called at each step or hold, after its command was sent and its reasons were noted
            in `guard`.
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
    """Base class of a loop that answers states with commands.

    Args:
        parts: Parts of the actor node.

    Attributes:
        rehearsal: Runs the stages of control steps on copies, to warm the caches; None: nothing
            does.
        waits_since: Steady time since which a command waits for the learner [s]; None while no
            command waits, and always in real time.
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
        self.rehearsal: CacheWarmer | None = None
        self.waits_since: float | None = None

    def prepare(self) -> None:
        """Reset the loop to the start of an activation."""
        raise NotImplementedError

    def on_state(self, state: RobotState, arrived: float) -> None:
        """Take a well-formed state; make the control step that is due with it.

        Args:
            state: The state.
            arrived: Steady time of its arrival [s].
        """
        raise NotImplementedError

    def begin(self) -> None:
        """Begin to send commands: the barrier of a training has opened. Nothing by default."""

    def on_progress(self) -> None:
        """React to a progress report of the learner. Nothing by default."""

    def release(self) -> None:
        """Send the command that waits for the learner, if its wait is over. Nothing by default."""

    def stop_at_once(self) -> None:
        """Make a hold now, for a stop, before the next step is due. Nothing by default."""

    def values(self) -> dict[str, str | int]:
        """Return measurements and counts of the control steps, /diagnostics key to value.

        The measurements are those of `StepMeter.values`. Counted are steps, missed deadlines,
        commands of the standby, rehearsed stages, episodes and transitions that were given up, and
        interventions of the safety filter by kind (`safety/<kind>`). `clock` names the control
        clock.
        """
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
        """Set the speed limits of this step: the share of the speed ramp (`SpeedRamp`), and the
        limits of joints that are not confirmed yet (`ArmLink.speeds`).
        """
        period_s = 0.0 if self._safety.is_at_rest else self._period_s
        self._safety.limit_speed(self._guard.ramp.advance(period_s))
        self._safety.slow(self._link.speeds)
