"""The actor: joint states in, commands and transitions out. Never imports torch.

Steps 1, 2, 3 and 7 of the path of a transition (CONTRIBUTING.md). This file has the node: it builds
the parts, connects them, and starts and ends them. The parts, in the order in which a state passes:

=====================  ==========================================================================
`state_intake.py`      a joint state arrives, is checked and kept
`object_intake.py`     poses of objects arrive, and become a part of the states
`realtime_loop.py`     a step of `robot/control/episode_actor.py` each period, or a hold if
                       `guard.py` has a reason; or
`lockstep_loop.py`     one answer for every state, while the simulation waits
`command_output.py`    the command leaves for the arm
`transition_outbox.py` the finished transition is published, kept and sent again
`policy_intake.py`     a new policy takes over between two steps
=====================  ==========================================================================
"""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from sql_ros.common.transition_log import Ledger
from sql_ros.nodes.actor_config import ActorConfig
from sql_ros.nodes.actor_setup import (
    LoadedTask,
    check_blend,
    check_limits,
    check_temperature,
    lateness_s,
    load_actor_task,
    make_actor,
    make_control_clock,
    make_link,
    make_rehearsal,
    make_standby,
    most_late_s,
    policy_period_s,
)
from sql_ros.nodes.adapters import make_adapter
from sql_ros.nodes.arm_link import ArmLink
from sql_ros.nodes.braking import Braking
from sql_ros.nodes.command_output import CommandOutput
from sql_ros.nodes.control_loop import STEP_S, ControlLoop, LoopParts
from sql_ros.nodes.diagnostics import OK, WARN, Status
from sql_ros.nodes.endpoint_names import identified_publisher
from sql_ros.nodes.goal_intake import GoalIntake
from sql_ros.nodes.guard import Guard
from sql_ros.nodes.intera import InteraRobot
from sql_ros.nodes.learner_link import LearnerLink
from sql_ros.nodes.lockstep_loop import LockstepLoop
from sql_ros.nodes.managed import ManagedNode
from sql_ros.nodes.messages import episode_to_msg, target_to_msg
from sql_ros.nodes.object_intake import ObjectIntake
from sql_ros.nodes.process import run_node
from sql_ros.nodes.qos import LATCHED, RELIABLE, REPLAY, SENSOR
from sql_ros.nodes.real_arm import RealArm
from sql_ros.nodes.realtime_loop import RealtimeLoop
from sql_ros.nodes.standby_thread import StandbyThread
from sql_ros.nodes.state_intake import TOPIC, StateIntake
from sql_ros.nodes.step_meter import StepMeter
from sql_ros.nodes.wait_warnings import WARN_EVERY_S, WaitWarnings
from sql_ros.policy.blend import Blend, parse_weights
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.control.realtime import lower_priority
from sql_ros.robot.control.step import Step


class ActorNode(ManagedNode):
    """The managed node that connects a `robot.control.episode_actor.Actor` to topics and services.

    `TrialsNode` is a subclass and overrides the first three attributes.

    Args:
        name: Node name.
        config: Class of its parameters.

    Attributes:
        takes_policies: Whether the node may subscribe to the policy topic.
        takes_goals: Whether the node subscribes to `~/goal`; goals are accepted in mode play only.
        where: Prefix, instead of `~`, of the topics and services that stop the arm and of
            `dry_run_commands`.
        task: Task named by the parameters; set by `configure`.
        actor: Selects actions and makes transitions; set by `configure`.
    """

    takes_policies = True
    takes_goals = True
    where = "~"
    config: ActorConfig
    actor: Actor

    def __init__(self, name: str = "actor", config: type[ActorConfig] = ActorConfig) -> None:
        super().__init__(name, "control", {"": config})
        self._guard = Guard(self, self.config, self.where)
        self._run = time.time_ns() // 1000  # identifies this process on the replay topic
        self._ledger = Ledger()  # transitions that no learner has acknowledged
        # set by `configure`; a second `configure` continues the sequence numbers of the first
        self._learner: LearnerLink | None = None
        self._lock = threading.Lock()  # held during a control step
        self._link: ArmLink | None = None  # set by `configure`

    # --- configure ---

    def configure(self) -> None:
        """Load task and policy; create the parts, topics, services and the control loop.

        Latency and limits of the arm are logged. A second `configure` continues the transition
        numbers of the first.

        Raises:
            ConfigError: A parameter, the task, the policy or the measurement record of a real arm
                cannot be used.
        """
        loaded = load_actor_task(self, self.config)
        self.task = loaded.task
        self.actor = self.make_actor()
        self.control_clock = self._guard.clock = make_control_clock(self, self.config)
        self._objects = ObjectIntake(
            self,
            self.task,
            self._guard,
            self._diagnostics,
            is_lockstep=self.config.is_lockstep,
        )
        self.actor.placement.request = self._objects.request
        self._states = StateIntake(
            self,
            self.task.robot,
            self.control_clock,
            self._guard,
            self._diagnostics,
            self._objects,
            mode=self.task.spec.command_mode,
            is_lockstep=self.config.is_lockstep,
        )
        rate_hz = self.task.config.control_rate_hz
        adapter = make_adapter(self.task.robot, self.task.spec.command_mode, 1.0 / rate_hz)
        self._learner = LearnerLink(
            self,
            self.config,
            self.actor,
            self._diagnostics,
            self._ledger,
            self._run,
            policy_period_s(self, self.config, self.task),
            self._learner,
            lambda: self._loop.release(),
        )
        pace = 1.0 if self.control_clock.follows else self.config.realtime_factor or 1.0
        self._meter = StepMeter(1.0 / rate_hz / pace, self.control_clock)
        topic = f"{self.where}/dry_run_commands" if self.config.dry_run else "commands"
        self._commands, self._commands_gid = identified_publisher(
            self, adapter.kind, topic, RELIABLE
        )
        self._link = make_link(
            self,
            self.config,
            self.task,
            self._commands,
            self.control_clock,
            may_switch=self._may_switch,
            is_at_rest=lambda: self.actor.safety.is_at_rest,
        )
        guard, period_s = self._guard, self._meter.periods.period_s
        guard.permit.is_real = self._link.is_real
        guard.ramp.is_real = self._link.is_real
        guard.most_late_s = most_late_s(self.config, self.task, is_real=self._link.is_real)
        standby = make_standby(
            self.config, self.task, self.control_clock, period_s, guard.most_late_s
        )
        self._output = CommandOutput(
            self.task,
            self._commands,
            adapter,
            self._link,
            self.actor.safety,
            self.control_clock,
            period_s,
            standby,
        )
        self._standby_thread = StandbyThread(self, self._output, adapter, self._states, self._link)
        self._real_arm = self._make_real_arm(self._link, loaded)
        self._loop = self._make_loop(self._link, self._learner)
        self._braking = Braking(
            self,
            self.actor,
            self._states,
            self._output,
            self._link,
            guard,
            period_s,
            is_lockstep=self.config.is_lockstep,
        )
        self._connect_parts(self._link, self._learner)
        self._create_topics(self._learner, loaded.state_delay_s)

    def _make_real_arm(self, link: ArmLink, loaded: LoadedTask) -> RealArm:
        """Check and log the limits of the arm; return the checks that only a real arm needs.

        For a real arm outside a dry run, the safety filter is also set to allow for the delay of
        states and to observe the payload.

        Args:
            link: Link to the arm.
            loaded: Task and identity of the arm.

        Raises:
            ConfigError: The parameters or the scene do not protect a real arm, or its measurement
                record cannot be used.
        """
        safety, config = self.actor.safety, self.config
        is_commanded = link.is_real and not config.dry_run
        check_limits(self, config, self.task, safety.clearance, is_real=is_commanded)
        if is_commanded:
            safety.expect_delay(config.max_state_delay_s)
        safety.observes_payload |= is_commanded
        return RealArm(self, config, loaded, self._guard, safety.payload, is_real=link.is_real)

    def _make_loop(self, link: ArmLink, learner: LearnerLink) -> ControlLoop:
        """Return the control loop: `LockstepLoop` where `realtime_factor` is 0, else
        `RealtimeLoop`. In real time its `is_late` also becomes that of `self.actor`.

        Args:
            link: Link to the arm.
            learner: Link to the learner.
        """
        config = self.config
        parts = LoopParts(
            self.actor,
            self._states,
            self._guard,
            link,
            self._output,
            learner.outbox,
            learner.barrier,
            self._meter,
            self._diagnostics,
            self._lock,
            self.ended,
            self.deliver,
            self.stepped,
        )
        if config.is_lockstep:
            return LockstepLoop(
                parts, learner.progress, config.learner_patience_s, trains=config.trains
            )
        period_s = self._meter.periods.period_s
        loop = RealtimeLoop(
            parts,
            config.max_state_age_s,
            make_rehearsal(config, self.task, self.control_clock, period_s),
            self._real_arm,
            self.resolve_topic_name(TOPIC),
        )
        self.actor.is_late = loop.is_late
        return loop

    def _connect_parts(self, link: ArmLink, learner: LearnerLink) -> None:
        """Set the guard's conditions and the callbacks between guard, intakes and control loop;
        create the warnings of a waiting actor (`_waits`).

        Args:
            link: Link to the arm, one of the guard's conditions.
            learner: Link to the learner, whose reports reach the control loop.
        """
        guard, loop = self._guard, self._loop
        guard.hold_now = loop.stop_at_once
        guard.obstacle_to_rest = self._braking.obstacle_to_rest
        standby = self._output.standby
        guard.conditions = [
            link.reasons,
            self._states.publishers.reasons,
            self._objects.reasons,
            self._states.posture.reasons,
            *([lambda now: standby.reasons] if standby is not None else []),
            self.presence.reasons,
            *self._real_arm.conditions(),
            learner.progress.reasons,
        ]
        self._states.on_state = loop.on_state
        learner.progress.on_accepted = self._on_accepted
        learner.progress.on_progress = loop.on_progress
        self._waits = WaitWarnings(
            self._diagnostics,
            self._states,
            loop,
            learner.outbox,
            learner.progress_topic,
            is_lockstep=self.config.is_lockstep,
        )

    def _create_topics(self, learner: LearnerLink, state_delay_s: float) -> None:
        """Create publishers, subscriptions, services and the timer of the warnings.

        `~/goal` is subscribed if `takes_goals` is true, the robot's condition if the interface of
        the arm is `intera`. Policies are not subscribed if `takes_policies` is false, nor if the
        parameters give a policy file and the actor does not train.

        Args:
            learner: Link to the learner, which creates its own subscriptions.
            state_delay_s: Usual time from the stamp of a state to its arrival [s].
        """
        config, robot, mode = self.config, self.task.robot, self.task.spec.command_mode
        self._episodes = self.create_publisher(Float64MultiArray, "~/episodes", REPLAY)
        self._targets = self.create_publisher(PoseStamped, "target", LATCHED)
        self._goals: GoalIntake | None = None
        if self.takes_goals:
            self._goals = GoalIntake(
                self,
                self.actor,
                self._lock,
                self._diagnostics,
                self._goal_obstacle,
                self._guard.staleness,
            )
        self._guard.create_entities(robot, mode, self._diagnostics, state_delay_s)
        self._robot: InteraRobot | None = None
        if robot.interface(mode) == "intera":
            self._robot = InteraRobot(
                self,
                self._guard.on_condition,
                speaks=not config.dry_run,
                enables=config.enable_robot,
            )
        self._objects.subscribe()
        qos = RELIABLE if config.is_lockstep else SENSOR
        self.reading.subscribe(JointState, TOPIC, self._states.on_message, qos)
        keeps_policy = bool(config.policy) and not config.trains
        learner.subscribe(takes_policies=self.takes_policies and not keeps_policy)
        self.create_timer(
            WARN_EVERY_S, self._warn_of_waits, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def make_actor(self) -> Actor:
        """Return a new actor for the parameter `mode`, with the policy file of the parameters.

        Raises:
            ConfigError: The policy file cannot be read or is too slow, or the temperature cannot be
                used.
        """
        period_s = policy_period_s(self, self.config, self.task)
        return make_actor(self.config, self.task, self.make_mapper(), period_s)

    def make_mapper(self) -> ActionMapper:
        """Return the map from actions to commands of the task, with a safety filter that allows
        for the largest lateness of the control loop.
        """
        return ActionMapper(self.task, lateness_s(self.config, self.task))

    def commanded(self) -> str:
        """Return the resolved topic of the commands; empty in a dry run."""
        return "" if self.config.dry_run else str(self._commands.topic_name)

    def owns(self, gid: bytes, name: str) -> bool:
        """Return whether a publisher of commands belongs to this node or its command watchdog.

        Args:
            gid: GID of the publisher.
            name: Full name of its node.
        """
        return gid == self._commands_gid or (self._link is not None and self._link.owns(gid, name))

    def _report_unclaimed_publishers(self) -> None:
        """Count a fault for other publishers of commands. On a real arm `CommandRivals` holds the
        arm instead.
        """
        if self._link is None or self._real_arm.rivals is None:
            super()._report_unclaimed_publishers()

    def _may_switch(self) -> bool:
        """Return whether a controller may be activated now: the node is active, and in training its
        learner has accepted the run.
        """
        is_open = self._learner is not None and not self._learner.barrier.reasons
        return not self.ended.is_set() and is_open

    def _goal_obstacle(self) -> str:
        """Return why no goal can be accepted now, in words; empty if one can.

        Obstacles are: the node is not active, there is no state or no policy, a stop holds the arm,
        or a start is needed.
        """
        if self.ended.is_set():
            return f"the actor is {self.phase}: activate it first"
        if self._states.newest is None:
            return "no joint states yet"
        if self.actor.is_idle:
            return "no policy yet"
        stops = self._guard.latch.reasons(time.monotonic())
        if not stops and (why := self._guard.permit.obstacle):
            return f"{why}: call ~/start first"
        return "; ".join(f"the arm is held, {kind}: {why}" for kind, why in stops.items())

    def check_change(self, config: ActorConfig) -> None:
        """Check temperature and weights of changed parameters against the policy in use.

        Args:
            config: Parameters with the new values.

        Raises:
            ConfigError: The temperature or the weights cannot be used.
        """
        if self.phase != "unconfigured":
            check_blend(config, self.actor.policy)
            check_temperature(config, self.actor.policy)

    def take_change(self, config: ActorConfig) -> None:
        """Apply changed parameters from the next control step on: temperature and weights, and in
        lockstep the patience with the learner. Before `configure` they are only stored.

        Args:
            config: Parameters with the new values, which `check_change` has accepted.
        """
        self.config = config
        if self.phase == "unconfigured":
            return
        self.actor.temperature = config.temperature
        policy = self.actor.policy
        if isinstance(policy, Blend):
            weights = parse_weights(config.weights, len(policy.weights))
            policy.wanted = np.array(weights, np.float32)
            self.get_logger().info(f"weights of the skills: {weights}")
        if isinstance(self._loop, LockstepLoop):
            self._loop.patience_s = config.learner_patience_s

    def on_ctrl_z(self) -> None:
        """Latch a stop, and hold the arm at once where the node is configured.

        The process is not suspended. Only `~/reset` ends the stop.
        """
        self._guard.latch.stop(
            "Ctrl-Z (SIGTSTP) came: the arm is held, no process is stopped, and Ctrl-C ends it"
        )
        if self.phase != "unconfigured":
            self._loop.stop_at_once()

    # --- an activation ---

    def prepare(self) -> None:
        """Apply the real-time settings, and reset every part to the start of an activation.

        Transition numbers and a latched stop outlive the reset. If no report of a learner is
        awaited, an Intera robot is also set up, see `_begin_with_robot`.
        """
        assert self._link is not None
        assert self._learner is not None
        self.realtime = self.take_real_time(self.config)
        self._guard.forget()
        self._real_arm.prepare()
        self._learner.prepare()
        self._link.forget()
        self.actor.forget()
        self._meter.forget()
        self._states.forget()
        self._objects.forget()
        self._output.forget()
        self._loop.prepare()
        if not self._learner.barrier.reasons:
            self._begin_with_robot()

    def _begin_with_robot(self) -> None:
        """Set the command timeout of an Intera robot, and ask the robot to enable itself where the
        parameters say so. Other robots need neither.
        """
        if self._robot is not None:
            self._robot.begin(self.task.robot.command_timeout_s)

    def activate(self) -> None:
        """Start the threads of the learner link and of the standby; in real time also let the
        reading thread make control steps. Lower the priority of this thread.
        """
        assert self._learner is not None
        self._learner.start()
        self._standby_thread.start()
        if isinstance(self._loop, RealtimeLoop):
            self.reading.meanwhile = self._loop.await_state
        self._real_arm.begin()
        # this thread is rclpy's executor: diagnostics, services, policies that arrive
        lower_priority()

    def _on_accepted(self) -> None:
        """Let the control loop begin: the learner has accepted the run.

        Called in the reading thread, once per activation of a training.
        """
        self._begin_with_robot()
        self._loop.begin()

    def stepped(self) -> None:
        """Cancel the goal if this control step was a stop, and publish the news about goals.

        Called in the thread of the control step, after its command was sent.
        """
        if self._goals is not None:
            self._goals.stepped(self._guard.holds.present, self._guard.latch.stops)

    def deliver(self, step: Step) -> None:
        """Publish the transition, the target and the episode summary of a control step, each if
        there is one.

        In lockstep called in the control step; in real time later, in the delivery thread.

        Args:
            step: Result of the control step. Its transition is published only while training, not
                in a dry run and not after the last transition of the run.
        """
        # in a dry run the arm did not execute the action
        assert self._learner is not None
        is_fed = self.config.trains and not self.config.dry_run
        if step.transition is not None and is_fed and not self._learner.progress.is_over:
            self._learner.outbox.publish(step, step.transition)
        if step.target is not None:
            newest = self._states.newest
            stamp_ns = newest.stamp_ns if newest is not None else 0
            frame = self.task.robot.wire_base_frame
            self._targets.publish(target_to_msg(step.target, stamp_ns, frame))
        if step.summary is not None:
            self._episodes.publish(episode_to_msg(step.summary))

    def _warn_of_waits(self) -> None:
        """Send a command whose wait for the learner is over; warn of waits that go on.

        Called by a timer. Does nothing while the node is not active.
        """
        if not self.ended.is_set():
            self._loop.release()
            self._waits.warn()

    def deactivate(self) -> None:
        """End the control loop and bring the arm to rest; the last command is a hold.

        An actor that has sent no command in this activation sends none now either. A goal is
        cancelled, and for a real arm the way of the end is recorded (`RealArm.end`). A step that
        takes longer than `STEP_S` is counted as a fault and not waited for; the command watchdog
        is then not told that the arm rests, and sends zeros. At the end wait for the
        learner to acknowledge the last transitions, for `HAND_OVER_S` at most
        (`transition_outbox.py`).
        """
        assert self._link is not None
        assert self._learner is not None
        is_over = self._lock.acquire(timeout=STEP_S)
        if is_over:
            self._lock.release()  # a step under way is over; `ended` prevents another
        else:
            self._diagnostics.fault(
                "loop_hangs", f"the control loop hangs: a step takes longer than {STEP_S:g} s"
            )
        self._output.admits_only_holds = True
        self._standby_thread.finish()
        self._output.take_back(time.monotonic())
        state = self._states.newest
        # an actor that has sent nothing must not brake: another process may command the arm
        if state is not None and self._output.left:
            self._braking.brake(state)
        self._link.release(rests=is_over)
        self._real_arm.end(self.failure)
        if self._goals is not None:
            self._goals.deactivate()
        self._learner.finish()

    def cleanup(self) -> None:
        """Close the link to the arm; the process of its command watchdog ends."""
        if self._link is not None:
            self._link.close()
            self._link = None

    # --- /diagnostics ---

    def report(self) -> Status:
        """Return level, message and values for /diagnostics while the node is active.

        The message says why the arm is held; if it is not held, what the actor does. In a dry run
        it begins with "dry run". The level is that of the reason to hold; WARN in a dry run and
        while there is nothing to act with; otherwise OK.
        """
        assert self._link is not None
        assert self._learner is not None
        values: dict[str, str | int] = {
            **self._loop.values(),
            **{f"realtime/{what}": outcome for what, outcome in self.realtime.items()},
            **self._learner.values(),
            **self._guard.values(),
            **self._link.values(),
            **self._real_arm.values(),
        }
        if isinstance(self.actor.policy, Blend):
            values.update(self.actor.policy.values())
        waiting = self._states.waiting()
        held = self._guard.status() or ((WARN, waiting) if waiting else None)
        if self.config.dry_run:
            values["dry_run_commands"] = self._output.count
            return (held[0], f"dry run; {held[1]}", values) if held else (WARN, "dry run", values)
        if held:
            return (*held, values)
        if self.actor.is_idle:
            return WARN, "holding, policy_missing: no policy, and exploring is not allowed", values
        if waiting := self.actor.placement.waiting:
            return WARN, waiting, values
        activity = self._goals.activity() if self._goals is not None else ""
        return OK, activity or ("acting" if values["policy_version"] else "exploring"), values


def main() -> int:
    """Run the executable `actor`, see `run_node`.

    Returns:
        The exit code: 0; `CONFIG_EXIT_CODE` after an error that is printed in one line.
    """
    return run_node(ActorNode)


if __name__ == "__main__":
    sys.exit(main())
