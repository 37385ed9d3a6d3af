"""The actor: joint states in, commands and transitions out. Never imports torch.

Hop 1, 2, 3 and 7 of the walk: a state arrives, `robot.actor` answers it, the command and the finished transition are published, a new
policy takes over between two steps.

In real time the control loop is a thread of its own at `control_rate_hz` and callbacks only store. In lockstep there is no rate to keep:
each state is answered in its callback, since a hand-over between threads would cost as much as the physics.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from dataclasses import dataclass

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, UInt8MultiArray, UInt64MultiArray

from sql_ros.core.config import Config, option
from sql_ros.core.errors import MessageError, PolicyError
from sql_ros.core.policy import Policy
from sql_ros.nodes.diagnostics import OK, WARN, Diagnostics, Status
from sql_ros.nodes.messages import (
    Progress,
    ReplayEntry,
    StateReader,
    TransitionCodec,
    command_to_msg,
    episode_to_msg,
    policy_from_msg,
    progress_from_msg,
)
from sql_ros.nodes.parameters import declare_configs, read_policy
from sql_ros.nodes.process import NodeThread, run_node
from sql_ros.nodes.qos import LATCHED, RELIABLE, REPLAY, SENSOR
from sql_ros.robot.actor import Actor, Step
from sql_ros.robot.arm import Arm, RobotState, Vector
from sql_ros.robot.pacing import Pacer, PeriodMeter
from sql_ros.robot.tasks import load_task

WARN_EVERY_S = 5.0


@dataclass(frozen=True)
class ActorConfig(Config):
    """Parameters of the actor."""

    task: str = option("sawyer_reach", "name of a file in config/tasks/, or a path")
    mode: str = option("train", "train: sample, feed the replay topic; play: the best of many candidates", choices=("train", "play"))
    policy: str = option("", "ONNX file to start with; empty: wait for the policy topic")
    seed: int = option(0, "of start poses, exploration and the policy's noise", minimum=0)
    explores: bool = option(True, "act uniformly until a first policy is there; otherwise hold")
    realtime_factor: float = option(1.0, "as in the simulation; 0: lockstep. A real arm has 1", minimum=0.0, maximum=100.0)
    max_state_age_s: float = option(0.1, "an older state leads to a hold [s of the steady clock]", minimum=0.001)
    learner_patience_s: float = option(
        60.0, "lockstep training waits so long for the learner after each episode, then says so and goes on [s]", minimum=0.0
    )  # fmt: skip


class ActorNode(Node):
    """Wires `robot.actor.Actor` to topics."""

    def __init__(self) -> None:
        super().__init__("actor", automatically_declare_parameters_from_overrides=True)
        (self.config,) = declare_configs(self, {"": ActorConfig})
        self.task = load_task(self.config.task)
        self.lockstep = self.config.realtime_factor == 0.0
        self.trains = self.config.mode == "train"
        self.actor = Actor(self.task, self.config.seed, deterministic=not self.trains, explores=self.config.explores and self.trains)
        if self.config.policy:
            self.actor.policy = read_policy(self.config.policy, self.task.spec)
        self._arm, self._reader = Arm(self.task.robot), StateReader(self.task.robot.joints)
        self._codec = TransitionCodec(self.task.spec)
        self.finished, self.failure = threading.Event(), None
        self._run = time.time_ns() // 1000  # names this process on the replay topic
        self._sequence = 0
        self._newest: tuple[float, RobotState] | None = None  # steady time of arrival, last good state
        self._answered: tuple[RobotState, Vector] | None = None  # last state and its command; lockstep
        self._waits_since: float | None = None  # steady time since when that command is held back for the learner
        self._lock = threading.Lock()  # of the two above
        self._progress = Progress(0, 0, 0, 0, 0)
        self._handled_version = 0
        self._policies: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._holds = 0
        self._control_rate = self.task.config.control_rate_hz
        self.meter = PeriodMeter(1.0 / self._control_rate / (self.config.realtime_factor or 1.0))
        self._commands = self.create_publisher(Float64MultiArray, "commands", RELIABLE)
        self._replay = self.create_publisher(Float64MultiArray, "replay", REPLAY)
        self._episodes = self.create_publisher(Float64MultiArray, "~/episodes", REPLAY)
        self.create_subscription(JointState, "joint_states", self._on_joint_states, RELIABLE if self.lockstep else SENSOR)
        self.create_subscription(UInt8MultiArray, "policy", self._on_policy, LATCHED)
        self.create_subscription(UInt64MultiArray, "learner/progress", self._on_progress, RELIABLE)
        self._diagnostics = Diagnostics(self, "control", self._report)
        self._silent_since = time.monotonic()
        self.create_timer(WARN_EVERY_S, self._look_around, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._threads = [NodeThread(self, self._install_policies, "policies")]
        if not self.lockstep:
            self._threads.append(NodeThread(self, self._control, "control"))

    def start(self) -> None:
        """Starts the control loop."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends the control loop; the last command is a hold."""
        self.finished.set()
        self._policies.put(None)
        for thread in self._threads:
            thread.join()
        with self._lock:
            if self._newest is not None:
                state = self._newest[1]
                self._send(self.actor.interrupt(state, fresh=False), state)

    # --- callbacks ---

    def _on_joint_states(self, message: JointState) -> None:
        try:
            state = self._arm.state(*self._reader.read(message))
        except MessageError as error:
            self._diagnostics.fault("state_dropped", str(error))
            return
        self._silent_since = time.monotonic()
        self._newest = (self._silent_since, state)
        if self.lockstep:
            self._answer(state)

    def _on_policy(self, message: UInt8MultiArray) -> None:
        try:
            self._policies.put(policy_from_msg(message))
        except MessageError as error:
            self._refuse(str(error))

    def _on_progress(self, message: UInt64MultiArray) -> None:
        try:
            self._progress = progress_from_msg(message)
        except MessageError as error:
            self._diagnostics.fault("progress_dropped", str(error))
            return
        self._release()

    # --- policies: checked and warmed up off the control path, swapped by one assignment ---

    def _install_policies(self) -> None:
        while (data := self._policies.get()) is not None:
            try:
                policy = Policy(data, self.task.spec)
            except PolicyError as error:
                self._refuse(f"{error}; version {self._policy_version} stays in use")
                continue
            self.actor.policy = policy
            self._handled_version = policy.info.version
            self._release()

    def _refuse(self, reason: str) -> None:
        """Keeps the policy in use; the refused one counts as handled, so that lockstep goes on."""
        self._diagnostics.fault("policy_refused", reason)
        self._handled_version += 1
        self._release()

    @property
    def _policy_version(self) -> int:
        policy = self.actor.policy
        return policy.info.version if policy else 0

    # --- lockstep: one answer per published state ---

    def _answer(self, state: RobotState) -> None:
        """Answers a state; one seen before, which the simulation repeats when it waits, gets the same answer again."""
        with self._lock:
            if self.finished.is_set():
                return
            if self._answered is None or state.stamp_ns != self._answered[0].stamp_ns:
                step = self.actor.step(state)
                self.meter.tick()
                self._answered = (state, step.command)
                if step.summary is not None and self.trains:
                    self._waits_since = time.monotonic()
                    self.meter.forget()
            else:
                step = None
            if self._waits_since is None:
                self._send(self._answered[1], state)
            if step is not None:
                self._publish(step)  # after the command: the simulation steps meanwhile
        self._release()

    def _release(self) -> None:
        """Sends the command held back at the end of an episode, once every transition is trained on and the newest policy acts.

        So runs in lockstep are the same to the bit. A learner that is silent for too long is not waited for.
        """
        with self._lock:
            if self._waits_since is None or self._answered is None or self.finished.is_set():
                return
            waited = time.monotonic() - self._waits_since
            if not self._learner_is_level():
                if waited < self.config.learner_patience_s:
                    return
                if self.config.learner_patience_s:
                    self._diagnostics.fault("learner_silent", f"no progress for {waited:.0f} s; going on without")
            self._waits_since = None
            self._send(self._answered[1], self._answered[0])

    def _learner_is_level(self) -> bool:
        progress = self._progress
        level = progress.run == self._run and progress.sequence >= self._sequence
        return level and self._handled_version >= progress.policy_version

    def _look_around(self) -> None:
        """Says what is waited for."""
        self._release()
        now = time.monotonic()
        if now - self._silent_since > WARN_EVERY_S and self._waits_since is None:
            name = self.resolve_topic_name("joint_states")
            self._diagnostics.fault("waiting", f"nothing on {name} for {now - self._silent_since:.0f} s: is its publisher running?")
        elif self._waits_since is not None and now - self._waits_since > WARN_EVERY_S:
            name = self.resolve_topic_name("learner/progress")
            self._diagnostics.fault("waiting", f"for {now - self._waits_since:.0f} s the learner is behind, by {name}: is it running?")

    # --- real time: a loop of its own ---

    def _control(self) -> None:
        """Body of the control thread; whatever happens in it, `stop` sends a hold as the last command."""
        pacer = Pacer(self.meter.period_s)
        while not self.finished.is_set():
            pacer.wait()
            self._tick()

    def _tick(self) -> None:
        """One control step with the newest state; too old a state is a hold, and the arm is left alone before the first."""
        if self._newest is None:
            return
        arrived, state = self._newest
        age = time.monotonic() - arrived
        if age > self.config.max_state_age_s:
            self._holds += 1
            self._diagnostics.fault("state_too_old", f"{age:.3f} s, at most {self.config.max_state_age_s} s: holding")
            self._send(self.actor.interrupt(state, fresh=False), state)
            return
        step = self.actor.step(state)
        self._send(step.command, state)
        self.meter.tick()
        self._publish(step)

    def _send(self, command: Vector, state: RobotState) -> None:
        spec = self.task.spec
        self._commands.publish(command_to_msg(command, spec.command_mode, spec.joints, state.stamp_ns))

    def _publish(self, step: Step) -> None:
        if step.transition is not None and self.trains:
            self._sequence += 1
            entry = ReplayEntry(self._run, step.episode_index, step.step_index, self._sequence, step.policy_version, step.transition)
            self._replay.publish(self._codec.to_msg(entry))
        if step.summary is not None:
            self._episodes.publish(episode_to_msg(step.summary))

    def _report(self) -> Status:
        p50, p99, largest = self.meter.quantiles()
        values = {
            "period_target_ms": f"{1e3 * self.meter.period_s:.3f}",
            "period_p50_ms": f"{1e3 * p50:.3f}",
            "period_p99_ms": f"{1e3 * p99:.3f}",
            "period_max_ms": f"{1e3 * largest:.3f}",
            "control_steps": self.meter.count,
            "missed_deadlines": 0 if self.lockstep else self.meter.missed,
            "holds": self._holds,
            "episodes_given_up": self.actor.given_up,
            "transitions": self._sequence,
            "policy_version": self._policy_version,
            **{f"safety/{kind}": count for kind, count in dict(self.actor.safety.interventions).items()},
        }
        if self.actor.is_idle:
            return WARN, "holding: no policy, and exploring is not allowed", values
        return OK, "acting" if self._policy_version else "exploring", values


def main() -> int:
    """Entry point of the executable `actor`."""
    return run_node(ActorNode)


if __name__ == "__main__":
    sys.exit(main())
