"""Listen to a stack whose processes are killed, stopped or cut off.

Records transitions, acknowledgements, states and commands, and judges whether the arm is held: once
commands end, because their actor was killed or got SIGSTOP, the arm must come to rest and stay at
rest. States and commands carry simulated time, and a command names the state that it answers.
Therefore the delay of messages to this process does not matter.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, UInt64MultiArray

from sql_ros.checks.listener_node import ListenerNode
from sql_ros.common.errors import MessageError, SqlRosError
from sql_ros.nodes.messages import TransitionCodec, progress_from_msg, read_answers
from sql_ros.nodes.qos import RELIABLE, REPLAY
from sql_ros.nodes.state_reader import StateReader
from sql_ros.robot.task import Task

RECOVERED = 20  # new transitions in the buffer, after which training counts as recovered
RECOVERY_S = 90.0  # longest recovery
AT_REST_RAD_S = 0.01  # largest joint speed of an arm that counts as at rest
COMMAND_GAP_S = 1.0  # simulated time; a working actor sends commands more often
# simulated time after the last command, in which the arm must be at rest: late commands, the
# command time-out and the braking are over at its beginning
REST_FROM_S = 3.0
REST_UNTIL_S = 4.8
# simulated time; a command this much newer than every state answers a state of the bridge before
OTHER_RUN_S = 5.0
ALL = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=2000, reliability=ReliabilityPolicy.RELIABLE
)


class BridgeRun:
    """States and commands of one process of the simulated arm, whose time starts at zero.

    Attributes:
        states: Stamp (simulated time) [s] and speed of the fastest joint [rad/s] of each state, in
            order.
        answered: Stamp of the state that each command answers [s], in the order of arrival.
    """

    def __init__(self) -> None:
        self.states: list[tuple[float, float]] = []
        self.answered: list[float] = []

    def speeds_after(self, struck_s: float) -> npt.NDArray[np.float64]:
        """Return the speeds in which an arm without an actor must be at rest.

        The actor's last command is the one before the first gap of more than `COMMAND_GAP_S`,
        counted from shortly before the strike.

        Args:
            struck_s: Newest stamp when the actor was killed or got SIGSTOP (the strike) [s].

        Returns:
            Speed of the fastest joint (n,) [rad/s] in each state from `REST_FROM_S` to
            `REST_UNTIL_S` after the last command, but before the next command. Empty if no command
            within `COMMAND_GAP_S` of the strike was received: this process may have discovered the
            actor later than the arm did.
        """
        if not self.states:
            return np.empty(0)
        times, speeds = np.array(self.states).T
        answered = np.sort(self.answered)
        recent = answered[answered >= struck_s - COMMAND_GAP_S]
        if not len(recent) or recent[0] > struck_s + COMMAND_GAP_S:
            return np.empty(0)
        gaps = np.flatnonzero(np.diff(recent) > COMMAND_GAP_S)
        last = recent[-1]
        next_command = np.inf
        if len(gaps):
            last = recent[gaps[0]]
            next_command = recent[gaps[0] + 1]
        is_judged = times > last + REST_FROM_S
        is_judged &= times < min(last + REST_UNTIL_S, next_command)
        return np.asarray(speeds[is_judged])


class StackMonitor:
    """Node that subscribes to the topics of a stack, in the DDS domain of this process.

    Messages are received only inside `listen`, `await_training` and `record_hold`.

    Args:
        processes: Processes of the stack. When one has ended, no recovery is awaited any more.
        log: File with their output, for an error's text.
        task: Task of the stack.

    Attributes:
        sent: Fingerprints of the published transitions by actor process and sequence number.
        acknowledged: Highest sequence number that the learner acknowledged, by actor process.
        transitions: Transitions in the learner's buffer, by its last report.
        unsafe_commands: Number of commands that are not finite, or faster than the velocity limits.
        bridge_runs: One for each process of the simulated arm, in order. An empty one is first, for
            commands that answer states of before this process listened.
    """

    def __init__(self, processes: list[subprocess.Popen[bytes]], log: Path, task: Task) -> None:
        self._processes = processes
        self._log = log
        self._codec = TransitionCodec(task.spec)
        self._velocity_limit = np.array(task.robot.velocity_limit)
        self._reader = StateReader(task.robot.wire_joints)
        self.sent: dict[tuple[int, int], bytes] = {}
        self.acknowledged: dict[int, int] = {}
        self.transitions = 0
        self.unsafe_commands = 0
        self.bridge_runs = [BridgeRun(), BridgeRun()]
        self._expected_holds: list[tuple[BridgeRun, float]] = []  # stamp of each strike [s]
        self._listener = ListenerNode("chaos")
        node = self._listener.node
        node.create_subscription(Float64MultiArray, "replay", self._on_replay, REPLAY)
        node.create_subscription(UInt64MultiArray, "learner/progress", self._on_progress, RELIABLE)
        node.create_subscription(Float64MultiArray, "sim_bridge/commands", self._on_command, ALL)
        node.create_subscription(JointState, "joint_states", self._on_state, ALL)

    def listen(self, seconds: float) -> None:
        """Receive messages for a time.

        Args:
            seconds: Length of the time [s].
        """
        self._listener.spin_for(seconds)

    def await_training(self) -> None:
        """Receive messages until the learner's buffer has grown by `RECOVERED` transitions.

        Raises:
            SqlRosError: A process of the stack has ended, or the buffer does not grow within
                `RECOVERY_S`. The text has the last lines of the stack's output.
        """
        goal = self.transitions + RECOVERED

        def is_over() -> bool:
            """Return whether the buffer has grown enough or a process has ended."""
            return self.transitions >= goal or bool(self._exit_codes())

        self._listener.spin_until(is_over, RECOVERY_S)
        if self.transitions < goal:
            last = "\n".join(self._log.read_text(errors="replace").splitlines()[-5:])
            raise SqlRosError(
                f"the stack does not train any more (exit codes: {self._exit_codes()}); last lines"
                f" of its log:\n{last}"
            )

    def expect_hold(self) -> None:
        """Note the stamp of the newest state: the actor gets SIGKILL or SIGSTOP now, and the arm
        must then be held.

        Does nothing if no state of the present simulated arm was received.
        """
        states = self.bridge_runs[-1].states
        if states:
            self._expected_holds.append((self.bridge_runs[-1], states[-1][0]))

    def record_hold(self) -> None:
        """Receive states until the hold that `expect_hold` noted last can be judged, which
        `speeds_without_commands` does.

        These are the states up to `COMMAND_GAP_S` + `REST_UNTIL_S` of simulated time after the
        strike. The method returns after `REST_UNTIL_S` [s] in any case. No other actor may command
        the arm meanwhile. Does nothing if no hold was noted.
        """
        if not self._expected_holds:
            return
        run, struck_s = self._expected_holds[-1]
        until_s = struck_s + COMMAND_GAP_S + REST_UNTIL_S
        self._listener.spin_until(lambda: run.states[-1][0] >= until_s, REST_UNTIL_S)

    def speeds_without_commands(self) -> npt.NDArray[np.float64]:
        """Return the speeds of all states in which the arm must be at rest after a strike that
        `expect_hold` noted.

        Returns:
            Speed of the fastest joint (n,) [rad/s], for all strikes together; may be empty.
        """
        parts = [run.speeds_after(struck_s) for run, struck_s in self._expected_holds]
        return np.concatenate([np.empty(0), *parts])

    def close(self) -> None:
        """Destroy the node; the recorded attributes stay."""
        self._listener.close()

    def _exit_codes(self) -> list[int]:
        """Return the exit codes of the processes that have ended."""
        return [each.returncode for each in self._processes if each.poll() is not None]

    def _on_replay(self, message: Any) -> None:
        """Keep the fingerprint of a published transition in `sent`."""
        entry = self._codec.from_msg(message)
        transition = entry.transition
        self.sent[entry.run, entry.sequence] = fingerprint(
            transition.observation, transition.action, transition.reward
        )

    def _on_progress(self, message: Any) -> None:
        """Keep the size of the buffer and the highest acknowledged sequence numbers."""
        progress = progress_from_msg(message)
        self.transitions = progress.transitions
        for process, sequence in progress.acknowledged.items():
            self.acknowledged[process] = max(sequence, self.acknowledged.get(process, 0))

    def _on_state(self, message: Any) -> None:
        """Keep stamp and speed of a state. A stamp older than the last one begins another bridge
        run.

        An unreadable state is dropped.
        """
        try:
            stamp_ns, _, velocity, _ = self._reader.read(message)
        except MessageError:
            return
        stamp_s = 1e-9 * stamp_ns
        states = self.bridge_runs[-1].states
        if states and stamp_s < states[-1][0]:  # another process of the simulated arm
            self.bridge_runs.append(BridgeRun())
        self.bridge_runs[-1].states.append((stamp_s, float(np.abs(velocity).max())))

    def _on_command(self, message: Any) -> None:
        """Count an unsafe command, and keep the stamp of the state that the command answers, if it
        names one, in the present bridge run or, if the stamp is too late for that, in the one
        before.
        """
        velocity = np.array(message.data)
        self.unsafe_commands += int(not (np.abs(velocity) <= self._velocity_limit).all())
        answers_ns = read_answers(message.layout.dim[1].label)
        if answers_ns is None:
            return
        states = self.bridge_runs[-1].states
        newest_s = states[-1][0] if states else 0.0
        is_of_this_run = 1e-9 * answers_ns <= newest_s + OTHER_RUN_S
        run = self.bridge_runs[-1] if is_of_this_run else self.bridge_runs[-2]
        run.answered.append(1e-9 * answers_ns)


def fingerprint(observation: npt.ArrayLike, action: npt.ArrayLike, reward: npt.ArrayLike) -> bytes:
    """Return the bytes of a transition in float32, which distinguish it from every other
    transition.

    Args:
        observation: Observation (S,).
        action: Action (A,).
        reward: Reward.
    """
    return b"".join(
        np.asarray(values, np.float32).tobytes() for values in (observation, action, reward)
    )
