"""The actor: joint states in, commands and transitions out. Never imports torch.

Hop 1, 2, 3 and 7 of the walk: a state arrives, `robot.actor` answers it, the command and the finished transition are published, a new
policy takes over between two steps.

In real time a step at `control_rate_hz` is made as the state arrives that it is due with, so that the arm is answered without delay; the
thread that waits for states makes those for which none came. `guard.py` says at every step whether the arm must be held. In lockstep there
is no rate to keep: every state is answered in its callback; of the guard only stops from outside apply.
"""

from __future__ import annotations

import math
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, UInt8MultiArray, UInt64MultiArray

from sql_ros.core.config import option
from sql_ros.core.errors import ConfigError, LedgerError, MessageError, SignatureError
from sql_ros.core.ledger import Ledger
from sql_ros.core.policy import Policy
from sql_ros.core.replay import Transition
from sql_ros.nodes.adapters import Wire, make_adapter
from sql_ros.nodes.arm_link import ArmLink
from sql_ros.nodes.barrier import LearnerBarrier
from sql_ros.nodes.command_rivals import CommandRivals
from sql_ros.nodes.diagnostics import OK, WARN, Status
from sql_ros.nodes.ending import ENDING
from sql_ros.nodes.goal_intake import GoalIntake
from sql_ros.nodes.guard import FAULTS, Guard, GuardConfig
from sql_ros.nodes.intera import InteraRobot
from sql_ros.nodes.limit import TransitionLimit
from sql_ros.nodes.managed import ManagedNode
from sql_ros.nodes.messages import (
    LOCKSTEP_TRANSITIONS,
    Progress,
    ReplayEntry,
    TransitionCodec,
    episode_to_msg,
    progress_from_msg,
    target_to_msg,
)
from sql_ros.nodes.parameters import read_policy
from sql_ros.nodes.policy_intake import PolicyIntake
from sql_ros.nodes.process import NodeThread, run_node
from sql_ros.nodes.qos import LATCHED, RELIABLE, REPLAY, SENSOR
from sql_ros.nodes.seal import Followed, Seal
from sql_ros.nodes.state_publishers import StatePublishers
from sql_ros.nodes.state_reader import ForeignStateError, StateReader, arrival_clock
from sql_ros.robot.actor import Actor, Step
from sql_ros.robot.arm import Arm, RobotState, Vector
from sql_ros.robot.clock import ControlClock
from sql_ros.robot.goals import GoalActor
from sql_ros.robot.pacing import KEPT_S, PeriodMeter, Samples, Schedule
from sql_ros.robot.realtime import RealtimeConfig, step_back
from sql_ros.robot.rehearsal import Rehearsal
from sql_ros.robot.state_rate import StateRate
from sql_ros.robot.tasks import load_task
from sql_ros.robot.watchdog import NO_REASONS

NO_PROGRESS = Progress(0, 0, 0, {})
WARN_EVERY_S = 5.0
RESEND_S, RESENT = 2.0, 1000  # a learner that is there and acknowledges nothing more for so long is sent so many again
ROUNDING = 1.0 + 1e-6  # of a temperature typed as it is shown
SHORTEST_WAIT_S = 1e-3  # for a /clock that stands just before a control step
MOST_REHEARSED = 0.3  # of a period: the rest is for the step itself and for the threads behind it
BRAKING_S, AT_REST_RAD_S = 2.0, 0.02  # the longest that torques brake an arm whose actor is to end, and from what speed on it is left alone
HAND_OVER_S = 4.0  # the longest that an actor which is to end waits for a learner to have everything
HURRIED_HAND_OVER_S = 1.0  # the same after SIGTERM


@dataclass(frozen=True)
class ActorConfig(RealtimeConfig, GuardConfig):
    """Parameters of the actor."""

    task: str = option("sawyer_reach", "name of a file in config/tasks/, or a path")
    mode: str = option(
        "train", "train: sample, feed the replay topic; play: the mean of its samples, or the best", choices=("train", "play")
    )
    policy: str = option("", "ONNX file to start with; empty: wait for the policy topic")
    seed: int = option(0, "of start poses, exploration and the policy's noise", minimum=0)
    explores: bool = option(True, "act uniformly until a first policy is there; otherwise hold")
    targets: str = option(
        "drawn", "play: drawn: anew for each episode, until a goal comes; goal: hold until one comes on ~/goal", choices=("drawn", "goal")
    )
    realtime_factor: float = option(1.0, "as in the simulation; 0: lockstep. A real arm has 1", minimum=0.0, maximum=100.0)
    joint_prefix: str = option("", "before every joint and frame name on topics; empty: as in the robot's file")
    follows_clock: bool = option(
        True,
        "with use_sim_time: control time is that of /clock; false: the steady clock's, as beside the sim_bridge, paced by realtime_factor",
    )
    dry_run: bool = option(False, "send nothing to the arm: what would be sent goes to ~/dry_run_commands")
    real_arm: bool = option(
        True,
        "the controller of the commands is checked and watched, unless they go to a topic sim_bridge/commands; false: the arm is simulated",
    )
    switch_controllers: bool = option(
        False, "real arm: activate the controller of the commands where another is active, and restore that at the end"
    )
    key_file: str = option("", "policies, progress and transitions are signed by the key in it, see 'sql-ros keygen'; empty: they are not")
    actor_id: int = option(0, "names this actor among several that feed one learner", minimum=0, maximum=2**31)
    most_unacknowledged: int = option(
        1_000_000, "transitions kept for a learner, on disk when long; then the oldest are given up", minimum=1
    )
    rehearsal_s: float = option(
        1e-3,
        "real time: the step is rehearsed for so long before a state is due, at most three tenths of a period, and as long after [s]",
        minimum=0.0,
        live=True,
    )  # fmt: skip
    most_transitions: int = option(
        0, "train: hold the arm when the run has so many transitions, those of earlier sessions included; 0: no limit", minimum=0
    )  # fmt: skip
    learner_patience_s: float = option(
        60.0, "lockstep training waits so long for the learner, then says so and goes on [s]", minimum=0.0, live=True
    )  # fmt: skip
    temperature: float = option(
        0.0,
        "play: 0 acts deterministically; otherwise actions are drawn as exp(Q / temperature), at most the policy's own temperature",
        minimum=0.0,
        live=True,
    )  # fmt: skip


class ActorNode(ManagedNode):
    """Wires `robot.actor.Actor` to topics."""

    takes_policies = True  # from the policy topic
    takes_goals = True  # from ~/goal, in mode play
    where = "~"  # what stops it, and what a dry run would have sent, are found under

    def __init__(self, name: str = "actor", config: type[ActorConfig] = ActorConfig) -> None:
        super().__init__(name, "control", {"": config})
        self.config: ActorConfig = self.configs[0]
        self.lockstep = self.config.realtime_factor == 0.0
        self.trains = self.config.mode == "train"
        self._guard = Guard(self, self.config, self.where)
        self._guard.conditions.append(lambda now: self._link.reasons(now))
        self._guard.conditions.append(lambda now: self._speakers.reasons(now))
        self._guard.conditions.append(lambda now: self._rivals.reasons if self._rivals is not None else NO_REASONS)
        self._run = time.time_ns() // 1000  # names this process on the replay topic
        self._sequence = 0
        self._progress = NO_PROGRESS
        self._limit = TransitionLimit(self.config.most_transitions if self.trains else 0, self._run)
        self._guard.conditions.append(lambda now: self._limit.reasons(self._progress, self._sequence))
        self._kept, self._acknowledged = Ledger(), 0  # transitions sent, and the sequence up to which a learner has them, or nobody will
        self._lock = threading.Lock()  # a control step is made by one thread at a time; of what lockstep remembers
        self._link: ArmLink | None = None  # from `configure` on
        self._rivals: CommandRivals | None = None  # of a real arm
        self._brakes = False  # no longer active, but states are still read
        self._threads: list[NodeThread] = []

    def configure(self) -> None:
        """Loads task and policy; creates what it speaks and listens through. See `ManagedNode`."""
        if self.config.dry_run and self.lockstep:
            raise ConfigError("parameter 'dry_run' is true, but in lockstep (realtime_factor 0) the simulation waits for commands")
        self.task = load_task(self.config.task, self.config.joint_prefix)
        robot, rate = self.task.robot, self.task.config.control_rate_hz
        self.actor = self.make_actor()
        self._arm, self._codec = Arm(robot), TransitionCodec(self.task.spec)
        self.control_clock = self._guard.clock = self._make_clock()
        self._reader = self._make_reader()
        self._speakers = StatePublishers(self, self.resolve_topic_name("joint_states"), robot.wire_joints)
        adapter = make_adapter(robot, self.task.spec.command_mode, 1.0 / rate)
        self._wire = Wire(adapter)
        self._progress = NO_PROGRESS
        reports = self.resolve_topic_name("learner/progress")
        self._barrier = LearnerBarrier(self.config.session, reports, trains=self.trains)
        self._seal, self._session = Seal(self.config.key_file), 0  # of the learner that transitions go to
        self._followed = Followed(self._seal)
        self._policies = PolicyIntake(self.actor, self._followed, self._diagnostics, self._release)
        factor = 1.0 if self.control_clock.follows else self.config.realtime_factor or 1.0
        self.meter = PeriodMeter(1.0 / rate / factor)
        self.latency, self.inference = (Samples(round(KEPT_S / self.meter.period_s)) for _ in range(2))
        self._rehearsal = self._make_rehearsal(self.config.rehearsal_s)
        self._sent = 0  # commands
        self._left = 0.0  # when the last one of this activation left: steady time [s]
        self._commands = self.create_publisher(
            adapter.kind, f"{self.where}/dry_run_commands" if self.config.dry_run else "commands", RELIABLE
        )
        self._link = ArmLink(
            self,
            robot,
            self.task.spec.command_mode,
            self._commands,
            1.0 / rate,
            real_arm=self.config.real_arm,
            may_switch=self._may_switch if self.config.switch_controllers else None,
            is_at_rest=lambda: self.actor.safety.is_at_rest,
            is_used=not self.config.dry_run,
            in_real_time=not self.lockstep,
            is_paced=not self.control_clock.follows,
        )
        is_watched = self._link.is_real and not self.config.dry_run
        self._rivals = CommandRivals(self, self.presence, self.commanded()) if is_watched else None
        self._replay = self.create_publisher(Float64MultiArray, "replay", REPLAY)
        self._episodes = self.create_publisher(Float64MultiArray, "~/episodes", REPLAY)
        self._targets = self.create_publisher(PoseStamped, "target", LATCHED)
        self._goals = GoalIntake(self, self.actor, self._lock, self._diagnostics, self._goal_obstacle) if self.takes_goals else None
        self._guard.wire(robot, self.task.spec.command_mode)
        speaks = not self.config.dry_run
        is_intera = robot.interface(self.task.spec.command_mode) == "intera"
        self._robot = InteraRobot(self, self._guard.on_condition, speaks=speaks) if is_intera else None
        self.reading.subscribe(JointState, "joint_states", self._on_joint_states, RELIABLE if self.lockstep else SENSOR)
        if self.takes_policies:
            self.create_subscription(UInt8MultiArray, "policy", self._policies.on_policy, LATCHED)
        self.reading.subscribe(UInt64MultiArray, "learner/progress", self._on_progress, RELIABLE)
        self.create_timer(WARN_EVERY_S, self._look_around, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _may_switch(self) -> bool:
        """Return whether a controller may be activated: commands are about to leave."""
        return not self.ended.is_set() and not self._barrier.reasons

    def _make_reader(self) -> StateReader:
        """Return the reader of joint states; in lockstep the simulation stamps and measures."""
        robot = self.task.robot
        if self.lockstep:
            return StateReader(robot.wire_joints)
        return StateReader(
            robot.wire_joints,
            velocity_from_position=robot.velocity_from_position,
            arrival_ns=arrival_clock(lambda: self.control_clock.at(time.monotonic())),
        )

    def commanded(self) -> str:
        """Return the topic of the commands; empty in a dry run. See `ManagedNode`."""
        return "" if self.config.dry_run else str(self._commands.topic_name)

    def _say_strangers(self) -> None:
        """As every node; those of a real arm are a hold. See `CommandRivals`."""
        if self._rivals is None:
            super()._say_strangers()

    def make_actor(self) -> Actor:
        """Who acts.

        Raises:
            SqlRosError: it cannot be made.
        """
        if self.trains:
            actor = Actor(self.task, self.config.seed, explores=self.config.explores)
        else:
            actor = GoalActor(self.task, self.config.seed, waits=self.config.targets == "goal")
        if self.config.policy:
            actor.policy = read_policy(self.config.policy, self.task.spec)
        self._check_temperature(self.config, actor.policy)
        actor.temperature = self.config.temperature
        return actor

    def _make_rehearsal(self, rehearsal_s: float) -> Rehearsal | None:
        """Return the rehearsal of steps; None where no time is given to it, or no step can be foreseen."""
        if self.lockstep or self.control_clock.follows or not rehearsal_s:
            return None
        return Rehearsal(self.task, min(rehearsal_s, MOST_REHEARSED * self.meter.period_s))

    def check_change(self, config: ActorConfig) -> None:
        """Check a temperature against the policy. See `LiveParameters`."""
        if self.phase != "unconfigured":
            self._check_temperature(config, self.actor.policy)

    def _check_temperature(self, config: ActorConfig, policy: Policy | None) -> None:
        if config.temperature and self.trains:
            raise ConfigError("'temperature' is of mode:=play: in training the policy acts at the temperature that it learns at")
        if policy is not None and config.temperature > policy.info.temperature * ROUNDING:
            trained = policy.info.temperature
            raise ConfigError(f"'temperature' is {config.temperature:g}, expected at most {trained:g}, at which the policy was trained")

    def take_change(self, config: ActorConfig) -> None:
        """Take a config over, between two steps. See `LiveParameters`."""
        before = self.config
        self.config = config
        if self.phase == "unconfigured":
            return
        self.actor.temperature = config.temperature
        if config.rehearsal_s != before.rehearsal_s:
            self._rehearsal = self._make_rehearsal(config.rehearsal_s)

    def _make_clock(self) -> ControlClock:
        """Return the clock of control: that of a foreign simulator where `use_sim_time` asks for it."""
        follows = self.get_parameter("use_sim_time").value and self.config.follows_clock and not self.lockstep
        return ControlClock(follows, self.config.max_clock_age_s, time.monotonic())

    def stepped(self) -> None:
        """The actor made a control step or was held: called in the thread that did it, after its command went out."""
        if self._goals is not None:
            self._goals.stepped(self._guard.holds.present)

    def _goal_obstacle(self) -> str:
        """Return why no goal can be taken now; empty if one can."""
        if self.ended.is_set():
            return f"the actor is {self.phase}: activate it first"
        if self._newest is None:
            return "no joint states yet"
        if self.actor.is_idle:
            return "no policy yet"
        stops = self._guard.latch.reasons(time.monotonic())
        return "; ".join(f"the arm is held, {kind}: {why}" for kind, why in stops.items())

    def prepare(self) -> None:
        """Takes what real time asks for, and forgets the control loop there was."""
        self.realtime = self.take_real_time(self.config)
        self._guard.forget()
        self._barrier.close()
        self._link.forget()
        self.actor.forget()
        self.meter.forget()
        self._outbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._newest: RobotState | None = None  # the last that may be acted on
        self._answered_arrival = 0.0  # of the last state whose latency was measured
        self._arrived = 0.0  # steady time at which it did
        clock = self.control_clock
        self._schedule = Schedule(self.meter.period_s, clock.at(time.monotonic()), is_coarse=clock.follows)
        self._rate = StateRate(self.meter.period_s)
        if self._rivals is not None:
            self._rivals.look()
        self._every = 0.0  # control time between two states, smoothed [s]
        self._last_arrival = self.control_clock.at(time.monotonic())  # of a state, control time [s]
        self._answered: tuple[RobotState, Vector] | None = None  # last state and its command; lockstep
        self._waits_since: float | None = None  # steady time since when that command is held back for the learner
        self._learner_was_missed = False  # the last wait for it was for nothing; lockstep
        self._heard = self._learner_heard = self._advanced = time.monotonic()  # a state, the learner, that it has more of what was sent
        self._left = 0.0
        if not self._barrier.reasons:
            self._enable_robot()

    def _enable_robot(self) -> None:
        if self._robot is not None:
            self._robot.enable(self.task.robot.command_timeout_s)

    def activate(self) -> None:
        """Starts the control loop."""
        self._threads = [NodeThread(self, self._policies.install_policies, "policies"), NodeThread(self, self._deliver, "delivery")]
        for thread in self._threads:
            thread.start()
        if not self.lockstep:
            self.reading.meanwhile = self._await_state
        step_back()  # this thread is rclpy's executor: diagnostics, services, policies that arrive

    def deactivate(self) -> None:
        """Ends the control loop; the last command is a hold. A learner that is there is then left the time to have everything."""
        with self._lock:
            state = self._newest  # a step under way is over, and there will be no other
        if state is not None and self._left:  # otherwise another may command the arm, or nobody
            self._brake(state)
        self._link.release()
        if self._goals is not None:
            self._goals.deactivate()
        self._policies.finish()
        for thread in self._threads[:-1]:
            thread.join()
        self._hand_over()
        self._outbox.put(None)
        for thread in self._threads[-1:]:
            thread.join()

    def cleanup(self) -> None:
        """Let go of the way to the arm. See `ManagedNode`."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _hand_over(self) -> None:
        """Waits until a learner that is there has acknowledged all; what it lacks is sent again at once."""
        self._advanced = 0.0
        began = time.monotonic()
        while not self._outbox.empty() or self._sequence > self._acknowledged:
            now = time.monotonic()
            most_s = HURRIED_HAND_OVER_S if ENDING.is_hurried else HAND_OVER_S
            if now - began > most_s or now - self._learner_heard > RESEND_S:
                kept = self._sequence - self._acknowledged
                self.get_logger().warning(f"no learner has the last {kept} of {self._sequence} transitions")
                return
            time.sleep(0.02)

    def _brake(self, state: RobotState) -> None:
        """Holds until the last command is rest itself; in lockstep at once, since the simulation stands still.

        Torques brake by what is measured, while that comes; then, and where it does not, the arm is left to its gravity compensation.
        """
        self._link.speak()
        if self.task.spec.command_mode == "torque" and not self.lockstep:
            state = self._brake_by_torques(state)
        self._await_period()
        self._send(self.actor.interrupt(state, fresh=False), state)
        while not self.actor.safety.is_at_rest:
            if not self.lockstep:
                time.sleep(self.meter.period_s)
            self._send(self.actor.interrupt(state, fresh=False), state)

    def _await_period(self) -> None:
        """Wait for the end of the last command's period: two commands within it would be two steps of speed."""
        if not self.lockstep:
            time.sleep(max(self._left + self.meter.period_s - time.monotonic(), 0.0))

    def _brake_by_torques(self, state: RobotState) -> RobotState:
        """Until the arm is at rest by its own word, or has none any more; returns the last state."""
        self._brakes, given_up = True, time.monotonic() + BRAKING_S
        while np.abs(state.velocity).max() > AT_REST_RAD_S and self._guard.is_sound(now := time.monotonic()) and now < given_up:
            self._send(self.actor.interrupt(state), state)
            time.sleep(self.meter.period_s)
            state = self._newest or state
        self._brakes = False
        return state

    # --- callbacks ---

    def _on_joint_states(self, message: JointState) -> None:
        if self.ended.is_set() and not self._brakes:
            return
        arrived = time.monotonic()
        try:
            state = self._arm.state(*self._reader.read(message))
        except ForeignStateError:
            self._diagnostics.faults["state_foreign"] += 1
            self._speakers.heard_other(message.name)
            return
        except MessageError as error:
            self._diagnostics.faults["state_dropped"] += 1
            self._heard = arrived
            self._speakers.heard(self.reading.number, arrived)
            self._guard.watch.bad(str(error))
            return
        self._speakers.heard(self.reading.number, arrived)
        if self._reader.is_unstamped and not self.lockstep:
            self._speakers.heard_unstamped()
        self._guard.took_state(0 if self._reader.is_unstamped else state.stamp_ns, arrived)
        self._heard = arrived
        if self.lockstep:
            self._newest = state
            self._answer(state)
        else:
            self._take_state(state, arrived)

    def _take_state(self, state: RobotState, arrived: float) -> None:
        """Keep a state that arrived at a steady time; make the control step that is due with it."""
        at = self.control_clock.at(arrived)
        interval = at - self._last_arrival
        self._last_arrival = at
        self._every += 0.05 * (interval - self._every) if self._every else interval
        self._guard.watch.good(state, at)
        self._arrived = arrived
        before = self._newest
        self._newest = self._guard.watch.state
        if self._newest is not before and self._rate.heard(at):
            self._say_slow()
        with self._lock:
            if self._schedule.is_due(at, self._every) and not self.ended.is_set():
                self._tick(by_state=True)

    def _say_slow(self) -> None:
        rate, wanted = self._rate.rate_hz, 1.0 / self.meter.period_s
        name = self.resolve_topic_name("joint_states")
        self._diagnostics.fault(
            "states_slow",
            f"{name} has {rate:.1f} newer states per second for {wanted:.1f} control steps: steps without a newer state make no transition",
        )

    def _on_progress(self, message: UInt64MultiArray) -> None:
        before = self._followed.session
        try:
            self._followed.open_progress(message)
            progress = progress_from_msg(message)
        except SignatureError as error:
            self._diagnostics.fault("progress_refused", str(error))
            return
        except MessageError as error:
            self._diagnostics.fault("progress_dropped", str(error))
            return
        if complaint := self._barrier.complaint(progress):
            self._diagnostics.fault("progress_foreign", complaint)
            return
        if self.trains and self._progress is NO_PROGRESS and progress.transitions > self._sequence:  # made before, perhaps with this seed
            self.actor.draw_after(progress.transitions)
        self._progress = progress
        if self._threads and self._threads[-1].is_alive():  # also while the node is handing over
            sequence = progress.acknowledged.get(self._run, 0)
            self._outbox.put(partial(self._take_acknowledgement, sequence, self._followed.session))
        if self._followed.session != before:
            self._policies.on_learner()
        if not self.ended.is_set() and self._barrier.open():
            self._begin()
        self._release()

    def _begin(self) -> None:
        """Send the first command of a training, as its learner has accepted the run."""
        self._enable_robot()
        if self.lockstep and self._newest is not None:
            self._answer(self._newest)

    def _take_acknowledgement(self, sequence: int, session: int) -> None:
        """What the learner has safely need not be kept; what it does not get is sent again, once the ledger can be read."""
        try:
            self._heed(sequence, session)
        except LedgerError as error:
            self._diagnostics.fault("ledger_failed", f"{error}; tried again as the learner goes on")

    def _heed(self, sequence: int, session: int) -> None:
        now = time.monotonic()
        if now - self._learner_heard > RESEND_S:
            self._advanced = now  # it has only come, and gets from the topic what that remembers
        self._learner_heard, self._learner_was_missed = now, False
        if sequence > self._sequence:
            self._diagnostics.fault("progress_dropped", f"{sequence} transitions are acknowledged of {self._sequence} made")
        elif sequence > self._acknowledged:
            self._acknowledged, self._advanced = sequence, now
            self._kept.forget_until(sequence)
        elif sequence >= self._sequence:
            self._advanced = now
        elif now - self._advanced > RESEND_S:
            self._advanced = now
            if again := self._send_after(sequence):
                self._diagnostics.fault("transitions_sent_again", f"{again} after sequence {sequence}, which is all that the learner has")
        if session != self._session:  # what was signed for another learner, this one takes for recorded
            self._session, self._advanced = session, now
            self._send_after(sequence)

    def _send_after(self, sequence: int) -> int:
        kept = self._kept.after(sequence, RESENT)
        for number, content in kept:
            self._send_transition(content, min(self._acknowledged + 1, number))  # acknowledged meanwhile, perhaps
        return len(kept)

    def _send_transition(self, content: bytes, oldest: int) -> None:
        if not self._seal.is_used:
            self._replay.publish(self._codec.to_wire(content, oldest))
        elif self._session:  # else it is sent when there is somebody to sign it for
            self._replay.publish(self._seal.sign(self._codec.wrap(content, oldest), self._session))

    # --- lockstep: one answer per published state ---

    def _answer(self, state: RobotState) -> None:
        """Answers a state; one seen before, which the simulation repeats when it waits, gets the same answer again."""
        with self._lock:
            if self.ended.is_set():
                return
            if self._barrier.reasons:
                self._guard.note(self._barrier.reasons, time.monotonic())
                return
            stops = self._stops()
            if self._link.is_silent:
                self._answered, self._waits_since = None, None
                return  # the simulation repeats the state
            if stops:
                step, self._waits_since = None, None
                self._answered = (state, self.actor.interrupt(state))
            elif self._answered is None or state.stamp_ns != self._answered[0].stamp_ns:
                step = self.actor.step(state)
                self.meter.tick()
                if step.fault:
                    self._guard.note({step.fault: FAULTS[step.fault]}, time.monotonic())
                self._answered = (state, step.command)
                if self.trains and self._waits_after(step):
                    self._waits_since = time.monotonic()
                    self.meter.forget()
            else:
                step = None
            if self._waits_since is None:
                self._send(self._answered[1], state)
            if step is not None:
                self.deliver(step)  # after the command: the simulation steps meanwhile
            if step is not None or stops:
                self.stepped()
        self._release()

    def _waits_after(self, step: Step) -> bool:
        """At the end of an episode, and in between as `ReplayEntry.is_waited_for` says; there not, if the last wait was for nothing."""
        between = step.transition is not None and (self._sequence + 1) % LOCKSTEP_TRANSITIONS == 0
        return step.summary is not None or (between and not self._learner_was_missed)

    def _release(self) -> None:
        """Sends the command held back by `_waits_after`, once every transition is trained on and the newest policy acts.

        So runs in lockstep are the same to the bit. A learner that is silent for too long is not waited for.
        """
        with self._lock:
            if self.ended.is_set() or self._waits_since is None or self._answered is None:
                return
            waited = time.monotonic() - self._waits_since
            if self._stops():
                self._answered = (self._answered[0], self.actor.interrupt(self._answered[0]))
            elif not self._learner_is_level():
                if waited < self.config.learner_patience_s:
                    return
                self._learner_was_missed = True
                if self.config.learner_patience_s:
                    self._diagnostics.fault("learner_silent", f"no progress for {waited:.0f} s; going on without")
            self._waits_since = None
            self._send(self._answered[1], self._answered[0])

    def _stops(self) -> bool:
        """Note what holds the arm, and say whether anything does."""
        now = time.monotonic()
        reasons = self._guard.stops(now)
        self._guard.note(reasons, now)
        return bool(reasons)

    def _learner_is_level(self) -> bool:
        progress = self._progress
        level = progress.acknowledged.get(self._run, 0) >= self._sequence
        return level and self._policies.handled_version >= progress.policy_version

    def _look_around(self) -> None:
        """Says what is waited for."""
        if self.ended.is_set():
            return
        self._release()
        now = time.monotonic()
        if now - self._heard > WARN_EVERY_S and self._waits_since is None and (self.lockstep or self._newest is None):
            name, joints = self.resolve_topic_name("joint_states"), ", ".join(self.task.robot.wire_joints)
            others = self._speakers.others()
            self._diagnostics.fault(
                "waiting",
                f"nothing of {joints} on {name} for {now - self._heard:.0f} s{others}: is its publisher running, are these its joints?",
            )
        elif self._waits_since is not None and now - self._waits_since > WARN_EVERY_S and not self._learner_advances(now):
            name = self.resolve_topic_name("learner/progress")
            self._diagnostics.fault("waiting", f"for {now - self._waits_since:.0f} s the learner is behind, by {name}: is it running?")
        elif self._sequence > self._acknowledged and now - self._learner_heard > WARN_EVERY_S:
            kept = self._sequence - self._acknowledged
            name = self.resolve_topic_name("learner/progress")
            self._diagnostics.fault(
                "learner_silent", f"nothing on {name} for {now - self._learner_heard:.0f} s; {kept} transitions are kept for it"
            )

    def _learner_advances(self, now: float) -> bool:
        """It has something left to train on, and got on with it lately."""
        return self._sequence > self._acknowledged and now - self._advanced < WARN_EVERY_S

    # --- real time: all in the thread that reads ---

    def _await_state(self) -> float:
        """Nothing is to be read: makes the step for which no state came, if one is overdue, or rehearses; returns how long to wait [s]."""
        if self.ended.is_set():
            return math.inf
        left = self._schedule.left_s(self.control_clock.at(time.monotonic()))
        if left > 0.0 and self.control_clock.follows:
            return max(left, SHORTEST_WAIT_S)  # a message of /clock ends the wait
        rehearsal = self._rehearsal
        if left > 0.0:
            return min(left, self._rehearse(rehearsal)) if rehearsal is not None else left
        with self._lock:
            if not self.ended.is_set():
                self._tick(by_state=False)
        return 0.0

    def _rehearse(self, rehearsal: Rehearsal) -> float:
        """A part of a step, if one is due soon; returns how long the next state may be waited for without another part [s]."""
        state = self._newest
        if state is None:
            return self.meter.period_s
        wait_s = rehearsal.wait_s(time.monotonic(), self._schedule.due)
        if wait_s == 0.0:
            with self._lock:  # a task may keep what it reckons with
                rehearsal.go_on(self.actor.policy, state)
        return wait_s

    def _tick(self, *, by_state: bool) -> None:
        """One control step with the newest state, a hold if the guard says so; the arm is left alone before the first state."""
        now, due, state, arrived = time.monotonic(), self._schedule.due, self._newest, self._arrived
        at = self.control_clock.at(now)
        self._schedule.stepped(at, by_state=by_state)
        if self._barrier.reasons:  # not even the command watchdog may prove itself
            self._guard.note(self._barrier.reasons, now)
            return
        if self._link.was_stopped(now):
            self.actor.forget()
        reasons = self._guard.reasons(now, at - due, self.actor.is_idle)
        if state is not None and reasons:
            self._hold(state, now)
            self.stepped()
        elif state is not None:
            if self._link.is_trying:
                self.actor.safety.trust(state)
            step = self.actor.step(state, partial(self._send, state=state))
            self.stepped()
            self._measure(step, arrived, due)
            if step.transition is not None or step.summary is not None or step.target is not None:
                self._outbox.put(partial(self.deliver, step))
            reasons = {step.fault: FAULTS[step.fault]} if step.fault else NO_REASONS
        self._guard.note(reasons, now)

    def _hold(self, state: RobotState, now: float) -> None:
        """Hold the arm; once it was out of reach, from where it is measured."""
        self._link.hold()
        self._send(self.actor.interrupt(state, fresh=self._guard.is_sound(now)), state)
        if self._link.held(state):
            self.actor.safety.forget()

    def _deliver(self) -> None:
        """Body of the delivery thread: a learner that joins late is sent thousands of transitions, and publishing waits meanwhile."""
        step_back()
        while (work := self._outbox.get()) is not None:
            work()

    def _measure(self, step: Step, arrived: float, due: float) -> None:
        """How punctual this command was; a state that no newer one had replaced is late by design and not counted twice."""
        left = self.control_clock.at(self._left)
        self.meter.tick(left - due, left)
        if arrived != self._answered_arrival:
            self._answered_arrival = arrived
            self.latency.add(self._left - arrived)
        if step.inference_s:
            self.inference.add(step.inference_s)

    def _send(self, command: Vector, state: RobotState) -> None:
        if self._link.is_silent:
            return
        self._sent += 1
        self._commands.publish(self._wire.command(command, state.stamp_ns))
        self._left = time.monotonic()
        self._link.sent(command, state, self._left)

    def deliver(self, step: Step) -> None:
        """Publishes what a control step gave beside its command; in real time in a thread of its own, later."""
        if step.transition is not None and self.trains and not self.config.dry_run:  # in a dry run the arm did not do it
            self._publish_transition(step, step.transition)
        if step.target is not None:
            self._targets.publish(target_to_msg(step.target, self._newest.stamp_ns if self._newest else 0, self.task.robot.wire_base_frame))
        if step.summary is not None:
            self._episodes.publish(episode_to_msg(step.summary))

    def _publish_transition(self, step: Step, transition: Transition) -> None:
        """Sends it, and keeps it until a learner has it: in memory, where it cannot be written."""
        if self._limit.is_reached(self._progress, self._sequence):  # a step that was under way
            return
        number = self._sequence + 1
        entry = ReplayEntry(self.config.actor_id, self._run, step.episode_index, step.step_index, number, step.policy_version, transition)
        try:
            content = self._codec.pack(entry)
        except MessageError as error:  # it has no number: a learner would wait for it for ever
            self._diagnostics.fault("transition_dropped", str(error))
            return
        self._sequence = number
        try:
            self._kept.put(self._sequence, content)
            given_up = self._sequence - self.config.most_unacknowledged
            if given_up > self._acknowledged:
                self._acknowledged = given_up
                self._kept.forget_until(given_up)
                self._diagnostics.fault(
                    "transitions_given_up", f"no learner has acknowledged, and only {self.config.most_unacknowledged} are kept"
                )
        except LedgerError as error:
            self._diagnostics.fault("ledger_failed", f"{error}; what could not be written is kept in memory")
        self._send_transition(content, self._acknowledged + 1)

    def _waiting(self) -> tuple[bytes, str] | None:
        """Return level and message before the first state; None after it."""
        if self._newest is not None:
            return None
        joints = ", ".join(self.task.robot.wire_joints)
        name = self.resolve_topic_name("joint_states")
        return WARN, f"waiting for joint_states: nothing of {joints} on {name} yet"

    def report(self) -> Status:
        """For /diagnostics, while active."""
        rehearsal = self._rehearsal
        p50, p99, largest = self.meter.periods.quantiles(0.5, 0.99, 1.0)
        values = {
            "period_target_ms": f"{1e3 * self.meter.period_s:.3f}",
            "period_p50_ms": f"{1e3 * p50:.3f}",
            "period_p99_ms": f"{1e3 * p99:.3f}",
            "period_max_ms": f"{1e3 * largest:.3f}",
            **_microseconds("jitter", self.meter.jitter, 0.5, 0.99, 0.999, 1.0),
            **_microseconds("latency", self.latency, 0.5, 0.99, 0.999, 1.0),
            **_microseconds("inference", self.inference, 0.5, 0.99),
            **{f"realtime/{what}": outcome for what, outcome in self.realtime.items()},
            "rehearsed_parts": rehearsal.parts if rehearsal else 0,
            "clock": "/clock" if self.control_clock.follows else "steady",
            "control_steps": self.meter.count,
            "missed_deadlines": 0 if self.lockstep else self.meter.missed,
            "episodes_given_up": self.actor.given_up,
            "transitions_skipped": self.actor.skipped,
            "transitions": self._sequence,
            "unacknowledged": self._sequence - self._acknowledged,
            "policy_version": self._policies.version,
            **self._guard.values(),
            **self._link.values(),
            **{f"safety/{kind}": count for kind, count in dict(self.actor.safety.interventions).items()},
        }
        held = self._guard.status() or self._waiting()
        if self.config.dry_run:
            values["dry_run_commands"] = self._sent
            return (held[0], f"dry run; {held[1]}", values) if held else (WARN, "dry run", values)
        if held:
            return (*held, values)
        if self.actor.is_idle:
            return WARN, "holding, policy_missing: no policy, and exploring is not allowed", values
        activity = self._goals.activity() if self._goals is not None else ""
        return OK, activity or ("acting" if self._policies.version else "exploring"), values


def _microseconds(name: str, samples: Samples, *shares: float) -> dict[str, str]:
    values = samples.quantiles(*shares)
    return {f"{name}_{'max' if share == 1 else f'p{100 * share:g}'}_us": f"{1e6 * value:.1f}" for share, value in zip(shares, values)}


def main() -> int:
    """Entry point of the executable `actor`."""
    return run_node(ActorNode)


if __name__ == "__main__":
    sys.exit(main())
