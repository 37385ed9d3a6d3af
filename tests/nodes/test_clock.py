"""A foreign simulator: the test publishes /clock and the states of an arm at its own pace, with
pauses and resets.
"""

import signal
import sys
import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from sql_ros.nodes.messages import clock_to_msg, state_to_msg
from sql_ros.nodes.qos import RELIABLE

pytestmark = pytest.mark.stack
TICK_S = 0.01  # of /clock and of the states
AWAY = 0.5  # rad from where the actor wants to go: it moves


class Simulator:
    """An arm that stands still whatever it is told, in a time of its own.

    Attributes:
        stamps: "clock": of the simulator's time; "none": the states have none.
        foreign_pace: States are stamped in real time, as by a real arm's driver, and /clock is so
            many times as fast; 0: the simulator's.
    """

    def __init__(self, probe, processes, task, **parameters) -> None:
        self._probe, self._joints = probe, task.robot.joints
        self._position = np.array(task.robot.neutral_position)
        self._position[0] = AWAY
        self._clock = probe.node.create_publisher(Clock, "/clock", RELIABLE)
        self._states = probe.node.create_publisher(JointState, "joint_states", RELIABLE)
        self._reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
        self.commands = probe.listen(Float64MultiArray, "commands", RELIABLE)
        self.ticks = 0
        self.stamps = "clock"
        self.foreign_pace = 0.0
        self._next = time.monotonic()
        probe.play_learner()
        self.actor = processes.node("actor", task="sawyer_reach", use_sim_time=True, **parameters)
        probe.wait(
            lambda: self._clock.get_subscription_count() and self._states.get_subscription_count()
        )

    def advance(self, *, pace: float = 1.0, ticks: bool = True) -> None:
        """Advance by one tick at a pace (simulated seconds per second).

        Or publish states while time stands.
        """
        self._next = max(self._next + TICK_S / pace, time.monotonic())
        self._probe.wait(lambda: time.monotonic() >= self._next)
        self.ticks += ticks
        stamp = round(self.ticks * TICK_S * 1e9)
        if self.foreign_pace:
            stamp = time.monotonic_ns()
        self._clock.publish(clock_to_msg(round(stamp * (self.foreign_pace or 1.0))))
        stamp = 0 if self.stamps == "none" else stamp
        zero = np.zeros(len(self._joints))
        self._states.publish(state_to_msg(stamp, self._joints, self._position, zero, zero))

    def until(self, condition, what: str = "", **how) -> None:
        """Advance until a condition holds."""
        deadline = time.monotonic() + 240.0
        while not condition():
            assert time.monotonic() < deadline, what
            self.advance(**how)

    def moves(self) -> bool:
        return bool(self.commands) and bool(np.any(np.array(self.commands[-1].data) != 0))

    def status(self) -> DiagnosticStatus:
        statuses = (
            s for r in reversed(self._reports) for s in r.status if s.name == "actor: control"
        )
        return next(statuses, DiagnosticStatus())


@pytest.fixture
def simulator(probe, processes, task):
    simulator = Simulator(probe, processes, task)
    simulator.until(simulator.moves, "motion")
    return simulator


@pytest.mark.short("3.0")
@pytest.mark.parametrize("pace", [0.3, 3.0, 10.0])
def test_a_foreign_clock_beside_a_real_arm_moves_nothing(probe, processes, task, pace):
    """A driver stamps states in real time.

    At three times real time limits would be three times as high.
    """
    scene = Simulator(probe, processes, task)
    scene.foreign_pace = pace

    def is_held() -> bool:
        message = scene.status().message
        return (
            message.startswith("holding, clock_mismatch")
            and "another time than the arm's" in message
        )

    scene.until(is_held, "hold")
    began = scene.ticks
    scene.until(lambda: scene.ticks > began + 300)
    assert len(scene.commands) > 20
    assert not any(np.any(np.array(command.data) != 0) for command in scene.commands)


@pytest.mark.long
def test_states_without_stamps_are_no_proof_of_a_clock(simulator):
    simulator.stamps = "none"
    held = "holding, clock_mismatch: use_sim_time is true, and the states have no stamp (0)"
    simulator.until(lambda: held in simulator.status().message, "hold")
    simulator.stamps = "clock"
    simulator.until(simulator.moves, "motion again")


@pytest.mark.long
@pytest.mark.parametrize("pace", [0.2, 3.0])
def test_control_rate_follows_a_foreign_clock(simulator, task, pace):
    """20 control steps per simulated second, whatever that takes; varied on the way."""
    simulator.commands.clear()
    began = simulator.ticks
    while simulator.ticks - began < 200:
        simulator.advance(pace=pace * (1.0 + 0.3 * np.sin(simulator.ticks)))
    simulated_s = (simulator.ticks - began) * TICK_S
    expected = simulated_s * task.config.control_rate_hz
    assert 0.85 * expected <= len(simulator.commands) <= 1.1 * expected


@pytest.mark.long
def test_age_of_states_follows_a_foreign_clock(simulator):
    """At a fiftieth of the pace a state comes every 0.2 s, which is older than allowed by the
    steady clock.
    """
    began, said = simulator.ticks, len(simulator.actor.log.read_text())
    simulator.until(lambda: simulator.ticks >= began + 20, pace=0.05)
    assert "holding" not in simulator.actor.log.read_text()[said:]
    simulator.until(
        lambda: {e.key: e.value for e in simulator.status().values}.get("clock") == "/clock"
    )


def test_a_clock_that_stands_still_is_a_hold_until_it_advances(simulator):
    simulator.until(
        lambda: "holding, clock_stopped" in simulator.status().message, "hold", ticks=False
    )
    assert simulator.status().level == DiagnosticStatus.WARN
    simulator.commands.clear()
    simulator.until(lambda: len(simulator.commands) > 5, "holds go on", ticks=False)
    assert not any(np.any(np.array(command.data) != 0) for command in simulator.commands)
    simulator.until(simulator.moves, "motion again")
    said = "holding, clock_stopped: /clock stands for"
    simulator.actor.until_said(said)
    assert simulator.actor.log.read_text().count(said) == 1


def test_a_reset_simulator_is_a_hold_and_then_a_new_start(simulator):
    simulator.until(lambda: simulator.ticks > 50)
    simulator.ticks = 0
    simulator.commands.clear()
    simulator.until(lambda: "holding, clock_jumped" in simulator.actor.log.read_text(), "hold")
    simulator.until(
        lambda: "clock_jumped is over" in simulator.actor.log.read_text(), "end of the hold"
    )
    simulator.until(simulator.moves, "motion again")
    assert any(np.all(np.array(command.data) == 0) for command in simulator.commands)


@pytest.mark.long
def test_without_any_clock_nothing_moves(probe, processes, task):
    """States alone are no time."""
    states = probe.node.create_publisher(JointState, "joint_states", RELIABLE)
    commands = probe.listen(Float64MultiArray, "commands", RELIABLE)
    probe.play_learner()
    actor = processes.node("actor", task="sawyer_reach", use_sim_time=True)
    probe.wait(states.get_subscription_count)
    position, zero = np.array(task.robot.neutral_position), np.zeros(7)
    position[0] = AWAY

    def held() -> bool:
        stamp = probe.node.get_clock().now().nanoseconds
        states.publish(state_to_msg(stamp, task.robot.joints, position, zero, zero))
        return (
            "holding, clock_stopped: use_sim_time is true" in actor.log.read_text()
            and len(commands) > 20
        )

    probe.wait(held)
    assert not any(np.any(np.array(command.data) != 0) for command in commands)


@pytest.mark.long
def test_zeros_follow_the_death_of_an_actor_paced_by_a_foreign_clock(probe, processes, task):
    """But not a short pause of the simulator, in which the actor is silent."""
    simulator = Simulator(probe, processes, task, real_arm=True, max_clock_age_s=0.7)
    simulator.until(simulator.moves, "motion")
    probe.spin_for(0.4)
    assert simulator.moves()
    assert "zeros to" not in simulator.actor.log.read_text()
    simulator.actor.kill()
    probe.wait(lambda: not simulator.moves(), timeout=2.0, what="zeros")


@pytest.mark.long
def test_zeros_follow_a_stall_of_an_actor_paced_by_a_foreign_clock(probe, processes, task):
    simulator = Simulator(probe, processes, task, real_arm=True, max_clock_age_s=0.5)
    simulator.until(simulator.moves, "motion")
    simulator.actor.send_signal(signal.SIGSTOP)
    probe.wait(lambda: not simulator.moves(), timeout=2.0, what="zeros")
    simulator.actor.send_signal(signal.SIGCONT)


@pytest.mark.long
def test_a_real_arm_does_not_move_for_long_after_a_clock_that_stops(processes):
    actor = processes.node(
        "actor", task="sawyer_reach", use_sim_time=True, real_arm=True, max_clock_age_s=4.0
    )
    assert actor.wait(240) == 2
    actor.until_said("'max_clock_age_s' is 4 s, expected at most 0.757 s on a real arm")


@pytest.mark.long
def test_a_clock_is_not_followed_beside_the_sim_bridge(probe, processes):
    """The stack says so: the clocks of two simulations in one domain must not mix."""
    clock = probe.node.create_publisher(Clock, "/clock", RELIABLE)
    states = probe.listen(JointState, "joint_states", RELIABLE)
    probe.play_learner()
    processes.node("sim_bridge")
    names = {"commands": "sim_bridge/commands"}
    actor = processes.node("actor", names, use_sim_time=True, follows_clock=False)

    def moves() -> bool:
        clock.publish(clock_to_msg(0))
        return bool(states) and np.abs(states[-1].velocity).max() > 0.1

    probe.wait(moves)
    assert "clock_" not in actor.log.read_text()


@pytest.mark.long
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_stack_of_a_real_arm_follows_a_foreign_simulator(
    processes, probe, task, untrained, tmp_path, factor
):
    """A sim_bridge alone plays the simulator.

    `sim:=false use_sim_time:=true` is what a user types.
    """
    (tmp_path / "policy.onnx").write_bytes(untrained())
    clock = probe.listen(Clock, "/clock", RELIABLE)
    commands = probe.listen(Float64MultiArray, "sim_bridge/commands", RELIABLE)
    processes.node("sim_bridge", realtime_factor=factor)
    given = {
        "sim": False,
        "use_sim_time": True,
        "mode": "play",
        "task": "sawyer_reach",
        "run_dir": tmp_path / "run",
    }
    given |= {"policy": tmp_path / "policy.onnx", "command_topic": "sim_bridge/commands"}
    words = [
        f"{name}:={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in given.items()
    ]
    stack = processes.start(
        [sys.executable, "-m", "sql_ros.cli.main", "up", "sawyer_stack", *words]
    )
    probe.wait(lambda: commands and np.any(np.array(commands[-1].data) != 0), what="motion")
    commands.clear()
    clock.clear()
    probe.wait(lambda: len(clock) > 500, what="five simulated seconds")
    made = len(commands)
    simulated_s = (
        Time.from_msg(clock[-1].clock).nanoseconds * 1e-9
        - Time.from_msg(clock[0].clock).nanoseconds * 1e-9
    )
    # by the steady clock it would be half or twice as many; a busy machine leaves some out
    assert 0.6 <= made / (simulated_s * task.config.control_rate_hz) <= 1.1
    assert processes.stop(stack) == 0
