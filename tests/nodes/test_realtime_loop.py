"""The order of the work in a control step in real time."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from sql_ros.nodes.control_loop import LoopParts
from sql_ros.nodes.realtime_loop import RealtimeLoop
from sql_ros.robot.control.clock import ControlClock
from sql_ros.robot.safety.state_watchdog import NO_REASONS, Holds

pytestmark = pytest.mark.stack


def _nothing(*given, **named) -> None:
    """Play a part that does nothing."""


class PlayedLoop:
    """A loop of a real arm whose parts do nothing.

    Attributes:
        reasons: Reasons to hold of the next step, by kind.
        told: Reasons in force when `stepped` was called, one entry for each call.
        loop: What is tested.
    """

    def __init__(self) -> None:
        self.reasons = NO_REASONS
        self.told: list[list[str]] = []
        self._holds = Holds()
        joints = ["a", "b"]
        state = SimpleNamespace(position=np.zeros(2), velocity=np.zeros(2))
        guard = SimpleNamespace(
            clock=ControlClock(),
            holds=self._holds,
            note=self._holds.note,
            reasons=lambda *given: self.reasons,
            is_sound=lambda now: True,
            most_late_s=1.0,
        )
        step = SimpleNamespace(transition=None, summary=None, target=None, fault="")
        actor = SimpleNamespace(
            task=SimpleNamespace(
                config=SimpleNamespace(control_rate_hz=20.0),
                spec=SimpleNamespace(command_mode="velocity"),
                robot=SimpleNamespace(joints=joints),
            ),
            safety=SimpleNamespace(
                elapsed=_nothing, is_at_rest=True, limit_speed=_nothing, slow=_nothing
            ),
            is_idle=False,
            step=lambda *given: step,
            interrupt=lambda *given, **named: np.zeros(2),
        )
        guard.ramp = SimpleNamespace(advance=_nothing)
        link = SimpleNamespace(
            was_stopped=lambda now: False,
            hold=_nothing,
            held=lambda *given, **named: False,
            may_brake=True,
            is_trying=False,
            speeds=None,
        )
        output = SimpleNamespace(
            take_back=_nothing,
            elapsed_s=lambda at: 0.0,
            begin_step=_nothing,
            send=_nothing,
            left=1.0,
        )
        meter = SimpleNamespace(periods=SimpleNamespace(period_s=0.05), measure=_nothing)
        parts = LoopParts(
            actor,
            SimpleNamespace(newest=state, arrived=0.0),
            guard,
            link,
            output,
            SimpleNamespace(put=_nothing),
            SimpleNamespace(reasons=NO_REASONS),
            meter,
            SimpleNamespace(fault=_nothing),
            threading.Lock(),
            threading.Event(),
            _nothing,
            lambda: self.told.append(list(self._holds.present)),
        )
        real_arm = SimpleNamespace(held_pose=None, identifying=None)
        self.loop = RealtimeLoop(parts, 1.0, None, real_arm, "/joint_states")


def test_a_hold_is_in_force_when_its_own_step_is_told():
    """Goals so are cancelled in the step in which a stop begins to hold the arm."""
    played = PlayedLoop()
    played.loop.stop_at_once()
    played.reasons = {"stop": "~/stop was called"}
    played.loop.stop_at_once()
    assert played.told == [[], ["stop"]]


def test_a_stop_holds_at_once_during_an_identification_but_only_once():
    """The arm moves then, although the step counts as a hold."""
    played = PlayedLoop()
    played.reasons = {"identifying": "right_j0"}
    played.loop.stop_at_once()
    played.reasons = {"stop": "~/stop was called"}
    played.loop.stop_at_once()
    played.loop.stop_at_once()
    assert played.told == [["identifying"], ["stop"]]
