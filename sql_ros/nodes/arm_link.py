"""What lies between the actor's commands and the arm: subscriber, controller, command watchdog, motion.

================  =========================================================  ====================
hold              while                                                      commands leave
================  =========================================================  ====================
`unheard`         no controller subscribes to the command topic              none
`controller`      the controller_manager says that the controller is the     none
                  wrong one, or not active
`controller`      the controller_manager, which said that all is well,       holds
                  answers no more
`unguarded`       the command watchdog is not there, does not answer or is   holds
                  not heard by the controller
`not_following`   the measured motion contradicts the commands               holds, at rest from
                                                                             where the arm is
================  =========================================================  ====================

Where no commands leave, those that brake a moving arm still do; then the command watchdog is told to rest.
After that, and after `not_following`, the safety filter starts from the measured position and velocity. None
of this concerns a dry run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rclpy.clock import Clock, ClockType

from sql_ros.core.errors import ConfigError
from sql_ros.nodes.controller_watch import ControllerWatch, wanted_controller
from sql_ros.nodes.listeners import Listeners
from sql_ros.nodes.managed import ManagedNode
from sql_ros.nodes.watchdog_link import WatchdogLink
from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.following import Following
from sql_ros.robot.watchdog import NO_REASONS

LOOK_S = 1.0
SIMULATED = "/sim_bridge/commands"  # end of a simulated arm's command topic
ZEROED = ("velocity", "torque")  # modes in which zero is a safe command


class ArmLink:
    """The way to one arm, for one publisher of commands.

    Args:
        node: The actor.
        robot: The arm.
        mode: Of its commands.
        publisher: Of its commands.
        period_s: Of control, in the arm's time [s].
        real_arm: Commands on any topic but a sim_bridge's go to a real controller.
        may_switch: See `ControllerWatch`; None: never.
        is_at_rest: Whether the last command asked for no motion.
        is_used: False in a dry run: nothing is checked.
        in_real_time: False in lockstep, where only the subscriber counts.
        is_paced: Control steps come in steady time, so that their absence means something.

    Raises:
        ConfigError: The robot file does not allow this mode on a real arm.
    """

    def __init__(
        self,
        node: ManagedNode,
        robot: RobotConfig,
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
        self._node, self._publisher = node, publisher
        self.is_real = real_arm and in_real_time and not publisher.topic_name.endswith(SIMULATED)
        is_bridged = robot.interface(mode) == "intera"
        self._listeners = Listeners(node, publisher, is_real=self.is_real, is_bridged=is_bridged) if is_used else None
        self._following = Following(robot, mode, period_s) if is_used and in_real_time else None
        self._controllers: ControllerWatch | None = None
        self._watchdog: WatchdogLink | None = None
        self._is_at_rest = is_at_rest if in_real_time else lambda: True  # in lockstep the arm stands while it waits
        self._is_cut = False  # no command is to leave
        self.is_silent = False
        if is_used and self.is_real:
            self._wire(robot, mode, period_s, may_switch, is_paced=is_paced)

    def _wire(self, robot: RobotConfig, mode: str, period_s: float, may_switch: Callable[[], bool] | None, *, is_paced: bool) -> None:
        """Check the controller of a real arm, and have its commands watched."""
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
        topic, joints = self._publisher.topic_name, robot.wire_joints
        namespace = self._node.get_namespace()
        wanted = wanted_controller(controller, mode, joints, topic, namespace)
        self._controllers = ControllerWatch(self._node, wanted, may_switch)
        if controller.keeps_last_command and mode in ZEROED:
            cpu = self._node.config.cpu
            self._watchdog = WatchdogLink(self._node, topic, len(joints), period_s, cpu, is_paced=is_paced)
            if not is_paced:
                line = "use_sim_time is true: the command watchdog notices the actor's end only, not its stall"
                self._node.get_logger().warning(line)
            clock = Clock(clock_type=ClockType.STEADY_TIME)
            self._node.create_timer(LOOK_S, self._look_after_watchdog, clock=clock)

    # --- asked and told at every control step ---

    def reasons(self, now: float) -> Mapping[str, str]:
        """Return why the arm must be held, by kind."""
        self._is_cut = False
        reasons = self._look(now)
        self.is_silent = self._is_cut and (self.is_silent or self._is_at_rest())
        return reasons

    @property
    def is_trying(self) -> bool:
        """Return whether a velocity is to start from what is measured: the arm has to move first."""
        return self._following is not None and self._following.is_trying

    def _look(self, now: float) -> Mapping[str, str]:
        if self._listeners is None:
            return NO_REASONS
        if unheard := self._listeners.reasons():
            self._is_cut = True
            return unheard
        if self._controllers is not None and self._controllers.reasons:
            self._is_cut = not self._controllers.is_right
            return self._controllers.reasons
        if self._watchdog is not None:
            self._watchdog.look(now)
            if not self._watchdog.is_ready:
                return {"unguarded": self._watchdog.complaint}
        return self._following.reasons if self._following is not None else NO_REASONS

    def was_stopped(self, now: float) -> bool:
        """Return whether this process was silent so long that the arm was stopped meanwhile."""
        return self._watchdog is not None and self._watchdog.has_stopped_the_arm(now)

    def sent(self, command: Vector, state: RobotState, now: float) -> None:
        """Take a command of the actor that left, and the state that it answers."""
        if self._watchdog is not None:
            self._watchdog.beat(now)
        if self._following is not None:
            self._following.sent(command, state.position)

    def hold(self) -> None:
        """Take that the command of this step is a hold."""
        if self._following is not None:
            self._following.hold()

    def held(self, state: RobotState) -> bool:
        """Take a step that was a hold; return whether the next command starts from what is measured."""
        if self.is_silent:
            if self._watchdog is not None:
                self._watchdog.rest()  # zeros would go to whoever comes
            self.forget()
            return True
        if self._watchdog is not None and not self._is_cut:
            self._watchdog.prove()  # not before a state has come
        if self._following is None or not self._following.reasons:
            return False
        return self._following.rest(state.position, state.velocity)

    def speak(self) -> None:
        """Let the last commands of an activation leave, whoever hears them."""
        self.is_silent = False

    def forget(self) -> None:
        """Begin a new activation."""
        if self._following is not None:
            self._following.forget()

    # --- its life ---

    def release(self) -> None:
        """The last command has left, and the arm is at rest: restore what was changed for it."""
        if self._watchdog is not None:
            self._watchdog.rest()
        if self._controllers is not None:
            self._controllers.restore()

    def close(self) -> None:
        """Let go of clients and processes."""
        if self._watchdog is not None:
            self._watchdog.close()
        if self._controllers is not None:
            self._controllers.close()

    def values(self) -> dict[str, str | int]:
        """Return which checks are made, for /diagnostics."""
        values: dict[str, str | int] = {}
        if self._controllers is not None:
            values["controller"] = self._controllers.checked or "not checked yet"
        if self._watchdog is not None:
            values["command_watchdog"] = "ready" if self._watchdog.is_ready else "not ready"
        if self._following is not None:
            values["not_following_attempts"] = self._following.attempts
        return values

    def _look_after_watchdog(self) -> None:
        """Start the command watchdog again, where it has ended by itself."""
        if self._watchdog is not None and self._watchdog.is_dead:
            self._node.get_logger().error("the command watchdog has ended and is started again")
            self._watchdog.restart()
