"""Who listens to a stack that is mistreated: what is sent, what is acknowledged, what the arm is told, and whether it is held.

Held: once its commands have stopped, because their actor was killed or stopped, the arm comes to rest and stays there. States and commands
carry simulated time, commands that of the state which they answer, so how late this process hears of them does not matter.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, UInt64MultiArray

from sql_ros.core.errors import MessageError, SqlRosError
from sql_ros.nodes.messages import TransitionCodec, progress_from_msg, read_answers
from sql_ros.nodes.qos import RELIABLE, REPLAY
from sql_ros.nodes.state_reader import StateReader
from sql_ros.robot.task import Task

RECOVERED = 20  # new transitions in the buffer: training goes on
PATIENCE_S = 90.0  # for that
STILL_RAD_S = 0.01  # of a joint at rest
FLOWING_S = 1.0  # simulated: commands come more often than that while an actor is at work
HELD_AFTER_S, HELD_UNTIL_S = 3.0, 4.8  # simulated, after the last command: late answers, timeout, braking are over, until one looks away
OTHER_LIFE_S = 5.0  # simulated: a command this much newer than any state answers one of the bridge's life before
ALL = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=2000, reliability=ReliabilityPolicy.RELIABLE)


class Stretch:
    """One life of the simulated arm: times [s] and fastest joints [rad/s] of its states, times of the states that commands answer."""

    def __init__(self) -> None:
        self.states: list[tuple[float, float]] = []
        self.answered: list[float] = []

    def speeds_after(self, struck: float) -> npt.NDArray[np.float64]:
        """Fastest joints (n,) in the states after the last command of an actor that was struck not before this time.

        Empty where no command was heard just before: who listens may have met this actor later than the arm has.
        """
        if not self.states:
            return np.empty(0)
        times, speeds = np.array(self.states).T
        answered = np.sort(self.answered)
        lately = answered[answered >= struck - FLOWING_S]
        if not len(lately) or lately[0] > struck + FLOWING_S:
            return np.empty(0)
        pauses = np.flatnonzero(np.diff(lately) > FLOWING_S)
        last, until = lately[-1], np.inf
        if len(pauses):
            last, until = lately[pauses[0]], lately[pauses[0] + 1]
        return np.asarray(speeds[(times > last + HELD_AFTER_S) & (times < min(last + HELD_UNTIL_S, until))])


class Witness:
    """Listens to a stack, in the domain of this process.

    Args:
        stack: its processes; when one of them has ended, nothing is waited for any more.
        log: what they say.
        task: theirs.

    Attributes:
        sent: fingerprints by actor process and sequence.
        acknowledged: sequence by actor process.
        transitions: in the learner's buffer.
        unsafe_commands: not finite, or faster than the arm may move.
        stretches: see `Stretch`.
    """

    def __init__(self, stack: list[subprocess.Popen[bytes]], log: Path, task: Task) -> None:
        self._stack, self._log = stack, log
        self._codec, self._fastest = TransitionCodec(task.spec), np.array(task.robot.velocity_limit)
        self._reader = StateReader(task.robot.wire_joints)
        self.sent: dict[tuple[int, int], bytes] = {}
        self.acknowledged: dict[int, int] = {}
        self.transitions = self.unsafe_commands = 0
        self.stretches = [Stretch(), Stretch()]
        self._struck: list[tuple[Stretch, float]] = []
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("chaos", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._node.create_subscription(Float64MultiArray, "replay", self._on_replay, REPLAY)
        self._node.create_subscription(UInt64MultiArray, "learner/progress", self._on_progress, RELIABLE)
        self._node.create_subscription(Float64MultiArray, "sim_bridge/commands", self._on_command, ALL)
        self._node.create_subscription(JointState, "joint_states", self._on_state, ALL)

    def listen(self, seconds: float) -> None:
        """For a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)

    def await_training(self) -> None:
        """Until the buffer has grown.

        Raises:
            SqlRosError: the stack has ended, or does not train again.
        """
        began, goal = time.monotonic(), self.transitions + RECOVERED
        while self.transitions < goal:
            ended = [child.returncode for child in self._stack if child.poll() is not None]
            if ended or time.monotonic() > began + PATIENCE_S:
                last = "\n".join(self._log.read_text(errors="replace").splitlines()[-5:])
                raise SqlRosError(f"the stack does not train any more (ended: {ended}); it said last:\n{last}")
            self._executor.spin_once(timeout_sec=0.05)

    def expect_hold(self) -> None:
        """The actor is struck now."""
        states = self.stretches[-1].states
        if states:
            self._struck.append((self.stretches[-1], states[-1][0]))

    def watch_hold(self) -> None:
        """Until everything is heard of the arm that `speeds_without_commands` looks at; the next actor must not command it meanwhile."""
        began = time.monotonic()
        stretch, struck = self._struck[-1] if self._struck else (Stretch(), 0.0)
        while stretch.states and stretch.states[-1][0] < struck + FLOWING_S + HELD_UNTIL_S and time.monotonic() < began + HELD_UNTIL_S:
            self._executor.spin_once(timeout_sec=0.05)

    def speeds_without_commands(self) -> npt.NDArray[np.float64]:
        """Fastest joint [rad/s] in every state (n,) in which the arm is to be held because its actor was struck."""
        return np.concatenate([np.empty(0), *(stretch.speeds_after(when) for stretch, when in self._struck)])

    def close(self) -> None:
        """Ends listening."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def _on_replay(self, message: Any) -> None:
        entry = self._codec.from_msg(message)
        t = entry.transition
        self.sent[entry.run, entry.sequence] = fingerprint(t.observation, t.action, t.reward)

    def _on_progress(self, message: Any) -> None:
        progress = progress_from_msg(message)
        self.transitions = progress.transitions
        for process, sequence in progress.acknowledged.items():
            self.acknowledged[process] = max(sequence, self.acknowledged.get(process, 0))

    def _on_state(self, message: Any) -> None:
        try:
            stamp_ns, _, velocity, _ = self._reader.read(message)
        except MessageError:
            return
        states = self.stretches[-1].states
        if states and 1e-9 * stamp_ns < states[-1][0]:
            self.stretches.append(Stretch())
        self.stretches[-1].states.append((1e-9 * stamp_ns, float(np.abs(velocity).max())))

    def _on_command(self, message: Any) -> None:
        velocity = np.array(message.data)
        self.unsafe_commands += int(not (np.abs(velocity) <= self._fastest).all())
        answers_ns = read_answers(message.layout.dim[1].label)
        if answers_ns is not None:
            newest = self.stretches[-1].states[-1][0] if self.stretches[-1].states else 0.0
            now = 1e-9 * answers_ns <= newest + OTHER_LIFE_S
            self.stretches[-1 if now else -2].answered.append(1e-9 * answers_ns)


def fingerprint(observation: npt.ArrayLike, action: npt.ArrayLike, reward: npt.ArrayLike) -> bytes:
    """Of a transition: no two are the same."""
    return b"".join(np.asarray(values, np.float32).tobytes() for values in (observation, action, reward))
