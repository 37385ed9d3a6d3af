"""The link from the actor's commands to the arm: subscriber, controller, command watchdog, motion.

It adds reasons to hold the arm, by kind:

================  =========================================================  ====================
hold kind         while                                                      commands sent
================  =========================================================  ====================
`unheard`         no controller subscribes to the command topic              none
`controller`      the controller_manager reports the wrong controller, or    none
                  an inactive one
`controller`      the controller_manager, which reported the right           holds
                  controller before, answers no more
`unguarded`       the command watchdog has ended, does not answer, or the    holds
                  controller has not acknowledged its commands
`not_following`   the measured motion contradicts the commands               holds at the
                                                                             measured position
================  =========================================================  ====================

Where the table says "none", commands that brake a moving arm are still sent first. Then the command
watchdog is told that the arm rests. While `unheard`, commands may be lost. They are sent until the
arm has been measured at rest for `SETTLED_S`; in velocity and torque mode zeros are sent while no
fresh state shows rest. After that, and after `not_following`, the safety filter starts from the
measured position and velocity. In a dry run nothing is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sql_ros.common.errors import ConfigError
from sql_ros.nodes.controller_watch import ControllerWatch, wanted_controller
from sql_ros.nodes.listeners import Listeners
from sql_ros.nodes.managed import ManagedNode
from sql_ros.nodes.steady_timer import steady_timer
from sql_ros.nodes.watchdog_link import WatchdogLink
from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.driver.following import LAG_S, SETTLED_S, FollowingCheck
from sql_ros.robot.driver.response import ResponseCheck
from sql_ros.robot.safety.state_watchdog import NO_REASONS

QUERY_S = 1.0
SIMULATED_TOPIC = "/sim_bridge/commands"  # end of a simulated arm's command topic
LOWEST_RATE_HZ = 5.0
AT_REST_RAD_S = 0.02  # below this speed an arm is at rest
ZERO_SAFE_MODES = ("velocity", "torque")  # modes in which zero is a safe command


def check_pace(realtime_factor: float, rate_hz: float, topic: str) -> None:
    """Check that pace and rate of the control loop suit a real arm.

    Args:
        realtime_factor: Simulated seconds per second; 0: lockstep.
        rate_hz: Control rate [Hz].
        topic: Resolved command topic. If it is that of the sim_bridge, nothing is checked.

    Raises:
        ConfigError: The factor is not 1, or the rate is below `LOWEST_RATE_HZ`.
    """
    if topic.endswith(SIMULATED_TOPIC):
        return
    hint = f"(real_arm:=false if {topic} is that of a simulation)"
    if realtime_factor != 1.0:
        raise ConfigError(
            f"parameter 'realtime_factor' is {realtime_factor:g}, expected 1: commands go to"
            f" {topic}, and a real arm runs in real time {hint}"
        )
    if rate_hz < LOWEST_RATE_HZ:
        raise ConfigError(
            f"the task's control_rate_hz is {rate_hz:g}, expected at least {LOWEST_RATE_HZ:g} on a"
            f" real arm: a command acts for a period, and a hold may wait for the end of it {hint}"
        )


def is_real_arm(topic: str, *, real_arm: bool) -> bool:
    """Return whether commands on a topic go to a real arm. In lockstep they never do, which the
    caller checks.

    Args:
        topic: Resolved command topic.
        real_arm: Parameter of this name: false declares the arm simulated.
    """
    return real_arm and not topic.endswith(SIMULATED_TOPIC)


class ArmLink:
    """The checks of the path from one publisher of commands to one arm.

    At each control step the loop calls `reasons`; then `hold` and `held`, if the step is a hold;
    then `sent` with the command that was sent.

    Args:
        node: The actor node.
        robot: The arm.
        scene: MJCF file with the arm.
        mode: Command mode.
        publisher: Publisher of the commands.
        period_s: Control period, in the arm's time [s].
        real_arm: Parameter of this name, see `is_real_arm`.
        may_switch: Returns whether the controller may be activated now, see `ControllerWatch`.
            None: it is never activated.
        is_at_rest: Returns whether the last command asked for no motion.
        is_used: False in a dry run: nothing is checked.
        in_real_time: False in lockstep: only the number of subscribers is checked.
        is_paced: Whether the steady clock paces the control steps; False: `/clock` does.

    Attributes:
        is_real: Whether the commands go to a real arm, in real time.
        is_silent: Whether `CommandOutput` must send nothing: commands are blocked, and no command
            sent before still moves the arm. Updated by `reasons`.

    Raises:
        ConfigError: The robot file has no controller for this mode on a real arm, or its timeout is
            too long.
    """

    def __init__(
        self,
        node: ManagedNode,
        robot: RobotConfig,
        scene: str,
        mode: str,
        publisher: Any,
        period_s: float,
        *,
        real_arm: bool,
        may_switch: Callable[[], bool] | None,
        is_at_rest: Callable[[], bool],
        is_used: bool,
        in_real_time: bool,
        is_paced: bool,
    ) -> None:
        self._node = node
        self._publisher = publisher
        self.is_real = in_real_time and is_real_arm(publisher.topic_name, real_arm=real_arm)
        is_bridged = robot.interface(mode) == "intera"
        self._listeners = (
            Listeners(node, publisher, is_real=self.is_real, is_bridged=is_bridged)
            if is_used
            else None
        )
        self._following = (
            FollowingCheck(robot, mode, period_s) if is_used and in_real_time else None
        )
        self._joints = robot.joints
        self._response = (
            ResponseCheck(robot, mode, period_s, scene) if is_used and self.is_real else None
        )
        self._is_contrary = False  # the measured motion contradicts the commands
        self._holds = False
        self._held_s = 0.0
        self._is_blind = False  # the state of this control step is an old one
        self._controllers: ControllerWatch | None = None
        self._watchdog: WatchdogLink | None = None
        # in lockstep the arm stands while it waits for a command
        self._is_at_rest = is_at_rest if in_real_time else lambda: True
        self._mode = mode
        self._period = period_s
        self._in_real_time = in_real_time
        self._is_blocked = False  # no command may leave
        self._is_unheard = False  # no subscriber is known, perhaps because of discovery
        self._has_sent = False  # a command left since the last silence
        self._rested_s = 0.0  # time for which holds were measured at rest [s]
        self.is_silent = False
        if is_used and self.is_real:
            self._watch_controller(robot, mode, period_s, may_switch, is_paced=is_paced)

    def _watch_controller(
        self,
        robot: RobotConfig,
        mode: str,
        period_s: float,
        may_switch: Callable[[], bool] | None,
        *,
        is_paced: bool,
    ) -> None:
        """Start to check the controller of a real arm; start the command watchdog process where
        the controller keeps its last command.

        Args:
            robot: The arm.
            mode: Command mode.
            period_s: Control period, in the arm's time [s].
            may_switch: Returns whether the controller may be activated now; None: it never may.
            is_paced: Whether the steady clock paces the control steps; False: `/clock` does.

        Raises:
            ConfigError: The robot file has no controller for the mode, or its timeout is too long.
        """
        try:
            controller = robot.controller(mode)
            robot.check_timeout(mode)
        except ConfigError as error:
            hint = f"(real_arm:=false if {self._publisher.topic_name} is that of a simulation)"
            raise ConfigError(f"robot '{robot.name}' has {error} {hint}") from None
        for line in robot.warnings(mode):
            self._node.get_logger().warning(line)
        if controller.interface == "intera":
            return
        topic = self._publisher.topic_name
        joints = robot.wire_joints
        namespace = self._node.get_namespace()
        wanted = wanted_controller(controller, mode, joints, topic, namespace)
        self._controllers = ControllerWatch(self._node, wanted, may_switch)
        if controller.keeps_last_command and mode in ZERO_SAFE_MODES:
            cpu = self._node.config.cpu
            age_s = 0.0 if is_paced else self._node.config.max_clock_age_s
            self._watchdog = WatchdogLink(
                self._node, topic, len(joints), period_s, cpu, clock_age_s=age_s
            )
            if not is_paced:
                line = (
                    "use_sim_time is true: the command watchdog notices a stall of the actor only"
                    f" after {age_s:g} s (max_clock_age_s)"
                )
                self._node.get_logger().warning(line)
            steady_timer(self._node, QUERY_S, self._restart_dead_watchdog)

    # --- at every control step ---

    def reasons(self, now: float) -> Mapping[str, str]:
        """Return why the arm must be held, hold kind to description; empty if it need not be.

        It also updates `is_silent`. Call it once per control step.

        Args:
            now: Steady time [s].
        """
        self._is_blocked = self._is_unheard = False
        reasons = self._find_reasons(now)
        self.is_silent = self._is_blocked and (self.is_silent or self._may_be_silent())
        return reasons

    def _may_be_silent(self) -> bool:
        """Return whether no command that was sent still moves the arm; no more need then be sent.

        The last command must ask for rest. While `unheard`, the arm must also have been measured at
        rest for `SETTLED_S`. With the wrong controller, the measured motion says nothing about the
        commands of this node, and is not considered.
        """
        if not self._is_at_rest():
            return False
        is_doubtful = self._is_unheard and self._has_sent and self._in_real_time
        return not is_doubtful or self._rested_s >= SETTLED_S

    @property
    def is_trying(self) -> bool:
        """Return whether the next command must start from the measured state, because the arm has
        not been seen to move as commanded yet.
        """
        return self._following is not None and self._following.is_trying

    @property
    def speeds(self) -> Vector | None:
        """Return the largest joint speeds that may be commanded now, (N,) [rad/s].

        Speeds are limited until every joint of a real arm is confirmed (`ResponseCheck.confirmed`).
        None: no limit, as for a simulated arm.
        """
        return None if self._response is None else self._response.speeds

    @property
    def may_brake(self) -> bool:
        """Return whether braking commands may be computed from the measured velocity.

        After a contradiction found by `ResponseCheck` they must not: if the sign of a joint is
        reversed, a command against the measured velocity accelerates the joint.
        """
        return not self._is_contrary

    def _find_reasons(self, now: float) -> Mapping[str, str]:
        """Return why the arm must be held, hold kind to description, the first that applies.

        The method also sets `_is_blocked` and `_is_unheard` where they apply.

        Args:
            now: Steady time [s].
        """
        if self._listeners is None:
            return NO_REASONS
        if unheard := self._listeners.reasons():
            self._is_blocked = self._is_unheard = True
            return unheard
        if self._controllers is not None and self._controllers.reasons:
            self._is_blocked = not self._controllers.is_right
            return self._controllers.reasons
        if self._watchdog is not None:
            self._watchdog.update(now)
            if not self._watchdog.is_ready:
                return {"unguarded": self._watchdog.complaint}
        return self._following.reasons if self._following is not None else NO_REASONS

    def was_stopped(self, now: float) -> bool:
        """Return whether the command watchdog may have stopped the arm, because the last command is
        too long ago.

        If so, it also withdraws the confirmation of all joints.

        Args:
            now: Steady time [s].
        """
        was_stopped = self._watchdog is not None and self._watchdog.has_stopped_the_arm(now)
        if was_stopped and self._response is not None:
            self._response.forget()
        return was_stopped

    def sent(self, command: Vector, state: RobotState, now: float) -> None:
        """Record a command that was sent: send a heartbeat to the command watchdog, and compare the
        commands so far with the measured motion.

        Args:
            command: Command (N,) in the unit of the mode.
            state: State that the command answers.
            now: Steady time [s].
        """
        self._has_sent = True
        if not self._is_blocked:
            self._rested_s = 0.0
        if self._watchdog is not None:
            self._watchdog.beat(now)
        if self._following is not None:
            self._following.sent(command, state.position)
            self._compare(command, state)

    def _compare(self, command: Vector, state: RobotState) -> None:
        """Compare the motion of each joint with its commands. A contradiction begins a hold
        `not_following`.

        During such a hold, and after any hold longer than `LAG_S`, nothing is compared and the
        confirmation of all joints is withdrawn.

        Args:
            command: Command that was sent (N,) in the unit of the mode.
            state: State that the command answers.
        """
        response = self._response
        following = self._following
        if response is None or following is None:
            return
        self._held_s = self._held_s + self._period if self._holds else 0.0
        self._holds = False
        if following.reasons or self._held_s > LAG_S:
            response.forget()
            return
        if self._is_blind:
            self._is_blind = False
            response.clear()  # an old state is no answer to a command
            return
        self._is_contrary = False
        response.sent(command, state)
        if response.mismatch is not None:
            self._is_contrary = True
            following.contradict(response.mismatch.text(self._joints))

    def owns(self, gid: bytes, name: str) -> bool:
        """Return whether a publisher of the commands is the command watchdog of this actor.

        Args:
            gid: GID of the publisher.
            name: Full name of its node. The name decides only until the watchdog has told its GID.
        """
        return self._watchdog is not None and self._watchdog.owns(gid, name)

    def beat(self, now: float) -> None:
        """Send a heartbeat to the command watchdog while the standby thread brakes the arm, so that
        the watchdog sends no zeros.

        Args:
            now: Steady time [s].
        """
        if self._watchdog is not None:
            self._watchdog.beat(now)

    def hold(self) -> None:
        """Record, before the command of this step is computed, that it is a hold."""
        self._holds = True
        if self._following is not None:
            self._following.hold()

    def held(self, state: RobotState, *, fresh: bool) -> bool:
        """Update the checks in a control step that is a hold.

        The time at rest is counted. While `is_silent`, the command watchdog is told that the arm
        rests, and what was sent is forgotten. Otherwise the watchdog is asked for its proof
        (`proof.py`).

        Args:
            state: Newest state.
            fresh: Whether the state is valid and recent.

        Returns:
            Whether the command of this step must start from the measured state.
        """
        rests = (
            np.abs(state.velocity).max() < AT_REST_RAD_S
            if fresh
            else self._mode not in ZERO_SAFE_MODES
        )
        self._rested_s = self._rested_s + self._period if rests else 0.0
        self._is_blind = not fresh
        if self.is_silent:
            if self._watchdog is not None:
                self._watchdog.rest()  # it would send zeros to any new subscriber
            self.forget()
            return True
        if self._watchdog is not None and not self._is_blocked:
            self._watchdog.prove()  # only after a first state
        if self._following is None:
            return False
        if not fresh:
            self._following.forget()  # an arm that is not seen stands still only in the old state
            return False
        if not self._following.reasons:
            return False
        settles = self._following.rest(state.position, state.velocity)
        return settles and not self._is_contrary  # one with a reversed sign would move again

    def end_silence(self) -> None:
        """Let the last commands of an activation be sent, even if nobody subscribes."""
        self.is_silent = False

    def forget(self) -> None:
        """Forget what was sent, and withdraw the confirmation of all joints.

        Called at the start of an activation, and in silent holds.
        """
        self._has_sent = False
        if self._response is not None:
            self._response.forget()
        if self._following is not None:
            self._following.forget()

    # --- end of an activation ---

    def release(self, *, rests: bool = True) -> None:
        """Tell the command watchdog that the arm rests, and restore the controllers that were
        active before this node switched them.

        Call it at the end of an activation, when the last command was sent and the arm is at rest.

        Args:
            rests: Whether no later command can come. Otherwise, as with a control step that hangs,
                the watchdog is told nothing, and sends zeros.
        """
        if self._watchdog is not None and rests:
            self._watchdog.rest()
        if self._controllers is not None:
            self._controllers.restore()

    def close(self) -> None:
        """Destroy the clients of the controller_manager, and end the process of the command
        watchdog.
        """
        if self._watchdog is not None:
            self._watchdog.close()
        if self._controllers is not None:
            self._controllers.close()

    def values(self) -> dict[str, str | int]:
        """Return the state of each check that is made, /diagnostics key to value."""
        values: dict[str, str | int] = {}
        if self._controllers is not None:
            values["controller"] = self._controllers.checked or "not checked yet"
        if self._watchdog is not None:
            values["command_watchdog"] = "ready" if self._watchdog.is_ready else "not ready"
        if self._following is not None:
            values["not_following_attempts"] = self._following.attempts
        if self._response is not None:
            values["joints_confirmed"] = int(self._response.confirmed.sum())
        return values

    def _restart_dead_watchdog(self) -> None:
        """Log an error and start another command watchdog if its process has ended. Called by a
        timer, while the threads of control may use the old one.
        """
        dead = self._watchdog
        if dead is not None and dead.is_dead:
            self._node.get_logger().error("the command watchdog has ended and is started again")
            self._watchdog = dead.successor()
            dead.close()
