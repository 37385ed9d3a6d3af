"""When an arm can be said to rest after a stop."""

import math
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from sql_ros.nodes.braking import Braking
from sql_ros.nodes.state_intake import StateIntake

pytestmark = pytest.mark.stack
PERIOD_S = 0.05
LATENCY_S = 0.2
NOT_YET = "the arm was not measured at rest for 0.250 s"


class StoppedArm:
    """An arm whose stop began at the time 10 s; rest was commanded at 10.1 s.

    Attributes:
        states: Intake of its states.
        output: Output of its commands.
    """

    def __init__(self, *, is_real: bool = False, mode: str = "velocity") -> None:
        self.states = StateIntake.__new__(StateIntake)
        self.states.newest = None
        self.states.arrived = self.states.measured = 0.0
        self.states.rests_since = math.inf
        self.output = SimpleNamespace(left=10.1, rests_since=10.1, holds_since=10.0, standby=None)
        safety = SimpleNamespace(is_at_rest=True, latency_s=LATENCY_S)
        task = SimpleNamespace(spec=SimpleNamespace(command_mode=mode))
        holds = SimpleNamespace(present={"stop": "~/stop was called"})
        self._braking = Braking(
            SimpleNamespace(ended=threading.Event()),
            SimpleNamespace(task=task, safety=safety),
            self.states,
            self.output,
            SimpleNamespace(is_real=is_real),
            SimpleNamespace(holds=holds, is_sound=lambda now: True),
            PERIOD_S,
            is_lockstep=False,
        )

    def measure(self, at: float, speed: float = 0.0) -> None:
        """Let a state arrive at a time [s] that shows a speed [rad/s]."""
        self.states.take(SimpleNamespace(velocity=np.array([0.0, speed])), at)

    def obstacle(self) -> str:
        """Return why the arm cannot be said to rest since 10 s; empty if it can."""
        return self._braking.obstacle_to_rest(10.0)[0]


def test_rest_must_be_measured_for_longer_than_the_latency():
    arm = StoppedArm()
    for at in (9.0, 10.05, 10.11, 10.34):
        arm.measure(at)
        assert arm.obstacle()
    assert arm.obstacle().startswith(NOT_YET)
    arm.measure(10.36)
    assert not arm.obstacle()


def test_a_motion_that_began_after_the_command_to_rest_counts():
    arm = StoppedArm()
    arm.measure(10.11)
    arm.measure(10.25, speed=0.3)  # an earlier command takes effect
    assert arm.obstacle() == "the arm was measured at 0.300 rad/s"
    arm.measure(10.40)
    assert arm.obstacle().startswith(NOT_YET)
    arm.measure(10.66)
    assert not arm.obstacle()


def test_a_state_that_cannot_be_trusted_measures_nothing():
    arm = StoppedArm()
    arm.measure(10.11)
    arm.states.take(arm.states.newest, 11.0)
    assert arm.obstacle().startswith(NOT_YET)


def test_a_real_arm_may_have_the_longest_latency_that_is_accepted():
    arm = StoppedArm(is_real=True)
    arm.measure(10.0)
    arm.measure(10.44)
    assert arm.obstacle().startswith("the arm was not measured at rest for 0.350 s")
    arm.measure(10.46)
    assert not arm.obstacle()


def test_in_torque_mode_rest_counts_from_the_first_hold():
    arm = StoppedArm(mode="torque")
    arm.output.rests_since = math.inf
    arm.measure(9.0)
    arm.measure(10.24)
    assert arm.obstacle()
    arm.measure(10.26)
    assert not arm.obstacle()


def test_an_arm_whose_last_command_asked_for_motion_does_not_rest():
    arm = StoppedArm()
    arm.output.rests_since = math.inf
    arm.measure(time.monotonic())
    assert arm.obstacle() == "the arm is still being braked"
