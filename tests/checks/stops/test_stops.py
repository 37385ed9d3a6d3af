"""The check of stops: what it judges, and two stops of a real actor."""

import contextlib
import subprocess
import sys

import numpy as np
import pytest
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import Trigger

from sql_ros.checks.listener_node import ListenerNode
from sql_ros.checks.processes import own_domain, start_process
from sql_ros.checks.stops import stops
from sql_ros.checks.stops.hindrances import HINDRANCES, MODES
from sql_ros.checks.stops.stops import StopCase, StopResults, _judge, stop_arms
from sql_ros.checks.stops.velocity_arm import TOPIC, VelocityArm
from sql_ros.common.errors import ConfigError
from sql_ros.nodes.qos import RELIABLE

CASE = StopCase("play", "none", "stop", (0.0, 0.0))
DOMAIN = int(own_domain()["ROS_DOMAIN_ID"])
LIMIT = np.array([10.0])


class _Arm:
    """Commands as they came, a period of 0.05 s apart from time 0 on."""

    def __init__(self, *speeds: float, outside_rad: float = 0.0) -> None:
        self.commands = [(0.05 * number, np.array([speed])) for number, speed in enumerate(speeds)]
        self.speed = abs(speeds[-1])
        self.outside_rad = outside_rad


def test_the_first_braking_command_is_where_the_arm_only_gets_slower():
    result = _judge(CASE, _Arm(0.8, 0.9, 1.0, 0.5, 0.0, 0.0), 0, 0.06, LIMIT, is_false=False)
    assert result.first_brake_s == pytest.approx(0.15 - 0.06)
    assert result.rest_s == pytest.approx(0.20 - 0.06)
    assert result.is_within_limits


def test_an_arm_that_goes_on_was_missed():
    result = _judge(CASE, _Arm(0.8, 0.9, 0.9), 0, 0.06, LIMIT, is_false=False)
    assert result.is_missed
    results = StopResults([result])
    assert results.failed == [result]
    assert results.figures()["missed"] == 1


@pytest.mark.parametrize(
    "arm",
    [_Arm(1.0, *np.linspace(0.9, 0.1, 9), 0.0), _Arm(1.0, 0.5, 0.0, outside_rad=0.01)],
    ids=["slowly", "beyond a limit"],
)
def test_a_way_to_rest_beyond_the_limits_fails(arm):
    result = _judge(CASE, arm, 0, 0.01, LIMIT, is_false=False)
    assert not result.is_within_limits
    assert StopResults([result]).failed


def test_only_a_training_has_a_learner_that_hangs():
    assert [mode for mode in MODES if "hung_learner" in HINDRANCES[mode]] == ["training"]


@pytest.mark.long
@pytest.mark.stack
@pytest.mark.xdist_group("own_domain")
def test_two_stops_of_a_moving_arm(tmp_path):
    results = StopResults(list(stop_arms(2, 0, DOMAIN, tmp_path)))
    assert not results.failed
    assert results.figures()["stops"] == 2


class _PlayedActor:
    """An actor's topics and services without an actor: it brakes in some steps and waits."""

    def __init__(self, domain: int, joints: int, log) -> None:
        self.log = log
        self.deaf = False
        self._speed = 0.0
        self._allowed = 0.0
        self._joints = joints
        self._pressed = False
        words = [sys.executable, "-c", "import time; time.sleep(600)"]
        self.process = start_process(words, subprocess.DEVNULL)
        self._listener = ListenerNode("played_actor", domain)
        node = self._listener.node
        self._commands = node.create_publisher(Float64MultiArray, TOPIC, RELIABLE)
        node.create_subscription(Bool, "actor/emergency_stop", self._on_button, RELIABLE)
        node.create_service(Trigger, "actor/stop", self._on_stop)
        node.create_service(Trigger, "actor/reset", self._on_reset)
        node.create_service(Trigger, "actor/start", self._on_start)
        node.create_timer(0.02, self._step)
        self._listener.spin_in_thread()

    hindered = staticmethod(lambda hindrance: contextlib.nullcontext())

    def close(self) -> None:
        self._listener.close()
        self.process.kill()
        self.process.wait()

    def _step(self) -> None:
        change = np.clip(self._allowed - self._speed, -0.05, 0.05)
        self._speed = round(self._speed + change, 3)
        self._commands.publish(Float64MultiArray(data=[self._speed] * self._joints))

    def _on_button(self, message: Bool) -> None:
        self._pressed = message.data
        if message.data and not self.deaf:
            self._allowed = 0.0

    def _on_stop(self, _, response):
        self._allowed = 0.0
        response.success = True  # at once: the arm still moves
        return response

    def _on_reset(self, _, response):
        response.success = not self._pressed
        response.message = "the button is pressed" if self._pressed else ""
        return response

    def _on_start(self, _, response):
        response.success = not self._pressed
        self._allowed = 0.0 if self._pressed else 0.2
        return response


@pytest.fixture
def played(task, tmp_path):
    (tmp_path / "log").write_text("its last words")
    arm = VelocityArm(task.robot, DOMAIN)
    actor = _PlayedActor(DOMAIN, len(task.robot.joints), tmp_path / "log")
    yield arm, actor, 0.5 * np.array(task.robot.acceleration_limit)
    actor.close()
    arm.close()


@pytest.fixture
def quick(monkeypatch):
    """A check that does not wait long for an arm that stands still."""
    monkeypatch.setattr(stops, "RETRY_S", 0.2)
    monkeypatch.setattr(stops, "MISSED_S", 1.0)


@pytest.mark.stack
@pytest.mark.xdist_group("own_domain")
def test_an_arm_is_started_stopped_and_started_again(played, quick):
    arm, actor, acceleration = played
    stops._await_motion(arm, actor)  # its first start
    button = stops._stop(
        arm, actor, StopCase("play", "none", "emergency_stop", (0.0, 0.0)), acceleration
    )
    assert not button.is_missed
    assert not button.is_false
    assert 0.0 <= button.first_brake_s <= button.rest_s < 1.0
    stops._start(arm, actor)  # releases the button first
    stops._await_motion(arm, actor)
    service = stops._stop(arm, actor, StopCase("play", "none", "stop", (0.0, 0.0)), acceleration)
    assert service.is_false  # answered before the arm was at rest
    assert StopResults([button, service]).failed == [service]
    still = stops._stop(arm, actor, StopCase("play", "none", "stop", (0.0, 0.0)), acceleration)
    assert still is None  # no moving arm was stopped


@pytest.mark.stack
@pytest.mark.xdist_group("own_domain")
def test_an_actor_that_does_not_hear_the_button_has_missed_the_stop(played, quick):
    arm, actor, acceleration = played
    stops._await_motion(arm, actor)
    actor.deaf = True
    case = StopCase("play", "none", "emergency_stop", (0.0, 0.0))
    assert stops._stop(arm, actor, case, acceleration).is_missed


@pytest.mark.stack
@pytest.mark.xdist_group("own_domain")
def test_an_actor_that_ended_is_an_error_with_its_last_words(played, quick):
    arm, actor, _ = played
    actor.process.kill()
    actor.process.wait()
    with pytest.raises(ConfigError, match=r"no motion .* \(exit code -9\): its last words"):
        stops._await_motion(arm, actor)


def test_cases_are_drawn_from_every_hindrance_and_kind():
    rng = np.random.default_rng(0)
    cases = [stops._draw("training", rng) for _ in range(100)]
    assert {case.hindrance for case in cases} == set(HINDRANCES["training"])
    assert {case.kind for case in cases} == set(stops.STOP_KINDS)
    assert max(case.pauses_s[0] for case in cases) <= stops.MOVED_S
    assert max(case.pauses_s[1] for case in cases) <= stops.PAUSE_S


def test_actors_of_all_modes_share_the_stops_and_are_started_anew(tmp_path, monkeypatch):
    """The sessions are played."""
    sessions = []

    def session(mode, count, rng, domain, folder):
        assert (folder / "policy.onnx").stat().st_size > 1000
        sessions.append((mode, count))
        case = StopCase(mode, "none", "stop", (0.0, 0.0))
        yield from [stops.StopResult(case, 0.01, 0.1, is_within_limits=True)] * count

    monkeypatch.setattr(stops, "_session", session)
    results = StopResults(list(stop_arms(30, 0, DOMAIN, tmp_path)))
    assert sum(count for _, count in sessions) == 30
    assert {mode for mode, _ in sessions} == set(MODES)
    assert max(count for _, count in sessions) <= stops.STOPS_PER_PROCESS
    assert results.figures()["stops_training"] > 0
