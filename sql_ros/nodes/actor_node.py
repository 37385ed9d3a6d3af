"""The actor: joint states in, commands and transitions out, at control rate, in a thread of its own. Never imports torch.

Hop 1, 2, 3 and 7 of the walk: a state arrives, `robot.actor` answers it, the command and the finished transition are published, a new
policy takes over between two steps.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, UInt8MultiArray, UInt64MultiArray

from sql_ros.core.config import Config, option
from sql_ros.core.errors import ConfigError, MessageError, PolicyError
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
from sql_ros.nodes.parameters import declare_configs
from sql_ros.nodes.process import run_node
from sql_ros.nodes.qos import LATCHED, RELIABLE, REPLAY, SENSOR
from sql_ros.robot.actor import Actor, Step
from sql_ros.robot.arm import Arm, RobotState
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
        self.actor = Actor(
            self.task, self.config.seed, deterministic=not self.trains, explores=self.config.explores and self.trains
        )
        if self.config.policy:
            self.actor.policy = self._read_policy(Path(self.config.policy))
        self._arm, self._reader = Arm(self.task.robot), StateReader(self.task.robot.joints)
        self._codec = TransitionCodec(self.task.spec)
        self.finished = threading.Event()
        self._run = time.time_ns() // 1000  # names this process on the replay topic
        self._sequence = 0
        self._newest: tuple[float, JointState] | None = None  # steady time of arrival, state
        self._arrived = threading.Condition()
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
        control = self._control_lockstep if self.lockstep else self._control_paced
        self._threads = [
            threading.Thread(target=self._guard, args=(control,), name="control"),
            threading.Thread(target=self._install_policies, name="policies"),
        ]

    def start(self) -> None:
        """Starts the control loop."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends the control loop; the last command is a hold."""
        self.finished.set()
        self._policies.put(None)
        with self._arrived:
            self._arrived.notify_all()
        for thread in self._threads:
            thread.join()

    # --- callbacks: decode and store ---

    def _on_joint_states(self, message: JointState) -> None:
        with self._arrived:
            self._newest = (time.monotonic(), message)
            self._arrived.notify_all()

    def _on_policy(self, message: UInt8MultiArray) -> None:
        try:
            self._policies.put(policy_from_msg(message))
        except MessageError as error:
            self._diagnostics.fault("policy_refused", str(error))

    def _on_progress(self, message: UInt64MultiArray) -> None:
        try:
            progress = progress_from_msg(message)
        except MessageError as error:
            self._diagnostics.fault("progress_dropped", str(error))
            return
        with self._arrived:
            self._progress = progress
            self._arrived.notify_all()

    # --- policies: checked and warmed up off the control path, swapped by one assignment ---

    def _install_policies(self) -> None:
        while (data := self._policies.get()) is not None:
            try:
                policy = Policy(data, self.task.spec)
            except PolicyError as error:
                self._diagnostics.fault("policy_refused", f"{error}; version {self._policy_version} stays in use")
                continue
            self.actor.policy = policy
            with self._arrived:
                self._handled_version = policy.info.version
                self._arrived.notify_all()

    @property
    def _policy_version(self) -> int:
        policy = self.actor.policy
        return policy.info.version if policy else 0

    def _read_policy(self, path: Path) -> Policy:
        try:
            return Policy(path.read_bytes(), self.task.spec)
        except OSError as error:
            raise ConfigError(f"parameter 'policy': cannot read {path}: {error}") from None
        except PolicyError as error:
            raise ConfigError(f"parameter 'policy': {path}: {error}") from None

    # --- the control loop ---

    def _guard(self, control: object) -> None:
        """Whatever happens in the loop, the last command is a hold."""
        try:
            control()  # type: ignore[operator]
        except Exception as error:
            self.get_logger().fatal(f"the control loop stopped: {error!r}")
            raise
        finally:
            self.finished.set()
            state = self._read(self._newest[1]) if self._newest else None
            if state is not None:
                self._send(self.actor.interrupt(state), state)

    def _control_lockstep(self) -> None:
        """One step per published state; a state seen before gets the same answer again."""
        last_stamp, last_command = -1, None
        while (message := self._await_state(last_stamp)) is not None:
            state = self._read(message)
            if state is None:
                continue
            if state.stamp_ns != last_stamp:
                step = self.actor.step(state)
                self.meter.tick()
                self._publish(step)
                if step.summary is not None and self.trains:
                    self._await_learner()
                last_stamp, last_command = state.stamp_ns, step.command
            if last_command is not None:
                self._send(last_command, state)

    def _await_state(self, last_stamp: int) -> JointState | None:
        """The next state; also one seen before when the simulation repeats it. None at the end."""
        with self._arrived:
            silent_since = time.monotonic()
            while not self.finished.is_set():
                if self._newest is not None:
                    message, self._newest = self._newest[1], None
                    return message
                if not self._arrived.wait(WARN_EVERY_S):
                    self._waits_for("joint_states", silent_since)
            return None

    def _await_learner(self) -> None:
        """Until every transition sent is trained on and the newest policy acts: lockstep runs are the same to the bit."""
        began = time.monotonic()
        with self._arrived:
            while not self.finished.is_set() and not self._learner_is_level():
                if time.monotonic() - began > self.config.learner_patience_s:
                    self._diagnostics.fault("learner_silent", f"no progress for {self.config.learner_patience_s} s; going on without")
                    break
                if not self._arrived.wait(WARN_EVERY_S):
                    self._waits_for("learner/progress", began)
        self.meter.forget()

    def _learner_is_level(self) -> bool:
        progress = self._progress
        level = progress.run == self._run and progress.sequence >= self._sequence
        return level and self._handled_version >= progress.policy_version

    def _control_paced(self) -> None:
        """At control rate, with the newest state; too old a state, or none, is a hold."""
        pacer = Pacer(self.meter.period_s)
        silent_since = time.monotonic()
        while not self.finished.is_set():
            pacer.wait()
            newest = self._newest
            if newest is None:
                self._waits_for("joint_states", silent_since)
                continue
            state = self._read(newest[1])
            if state is None:
                continue
            age = time.monotonic() - newest[0]
            if age > self.config.max_state_age_s:
                self._holds += 1
                self._diagnostics.fault("state_too_old", f"{age:.3f} s, at most {self.config.max_state_age_s} s: holding")
                self._send(self.actor.interrupt(state), state)
                continue
            step = self.actor.step(state)
            self._send(step.command, state)
            self.meter.tick()
            self._publish(step)

    def _read(self, message: JointState) -> RobotState | None:
        try:
            return self._arm.state(*self._reader.read(message))
        except MessageError as error:
            self._diagnostics.fault("state_dropped", str(error))
            return None

    def _send(self, command: object, state: RobotState) -> None:
        spec = self.task.spec
        self._commands.publish(command_to_msg(command, spec.command_mode, spec.joints, state.stamp_ns))  # type: ignore[arg-type]

    def _publish(self, step: Step) -> None:
        if step.transition is not None and self.trains:
            self._sequence += 1
            entry = ReplayEntry(
                self._run, step.episode_index, step.step_index, self._sequence, step.policy_version, step.transition
            )
            self._replay.publish(self._codec.to_msg(entry))
        if step.summary is not None:
            self._episodes.publish(episode_to_msg(step.summary))

    def _waits_for(self, topic: str, since: float) -> None:
        if time.monotonic() - since >= WARN_EVERY_S:
            name = self.resolve_topic_name(topic)
            self._diagnostics.fault("waiting", f"nothing on {name} for {time.monotonic() - since:.0f} s: is its publisher running?")

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
            "transitions": self._sequence,
            "policy_version": self._policy_version,
            **{f"safety/{kind}": count for kind, count in self.actor.safety.interventions.items()},
        }
        if self.actor.is_idle:
            return WARN, "holding: no policy, and exploring is not allowed", values
        return OK, "acting" if self._policy_version else "exploring", values


def main() -> int:
    """Entry point of the executable `actor`."""
    return run_node(ActorNode)


if __name__ == "__main__":
    sys.exit(main())
