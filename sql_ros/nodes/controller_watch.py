"""Asks the arm's controller_manager whether commands reach the right controller.

controller_manager_msgs is part of a ROS 2 with ros2_control and not on PyPI. Where it cannot be imported,
or nobody offers `list_controllers`, only the subscribers of the command topic are counted; `checked` says
which of the checks was made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.task import Future

from sql_ros.robot.controller_check import Listed, Verdict, Wanted, judge
from sql_ros.robot.controllers import ControllerConfig
from sql_ros.robot.watchdog import NO_REASONS

try:
    from controller_manager_msgs.srv import ListControllers, SwitchController

    WHY_NOT = ""
except ImportError as error:
    ListControllers = SwitchController = None
    WHY_NOT = f"controller_manager_msgs cannot be imported ({error})"

LOOK_S = 0.5
APPEARS_S = 2.0  # a controller_manager that is there is discovered within this
ANSWERS_S = 3.0  # and answers within this
SWITCHES_S = 5.0
SUFFIXES = ("/commands", "/joint_trajectory")  # of a controller's command topic, behind its name


def wanted_controller(controller: ControllerConfig, mode: str, joints: tuple[str, ...], topic: str, namespace: str) -> Wanted:
    """Return which controller commands go to, by their resolved topic.

    Args:
        controller: Of the robot file.
        mode: Of the commands.
        joints: Names on the wire.
        topic: Resolved; `<namespace>/<controller>/commands` names another controller and namespace.
        namespace: Of the actor; that of the arm where the topic has another form.
    """
    for suffix in SUFFIXES:
        where, _, name = topic.removesuffix(suffix).rpartition("/")
        if name and topic.endswith(suffix) and not controller.topic:
            manager = f"{where}/controller_manager"
            return Wanted(replace(controller, name=name), mode, joints, manager)
    return Wanted(controller, mode, joints, f"{namespace.rstrip('/')}/controller_manager")


class ControllerWatch:
    """Asks every half second while it exists, in the executor.

    Args:
        node: That sends commands.
        wanted: The controller that they need.
        may_switch: Whether it may be activated now, if that is all that is missing. What was active before is
            restored. None: never.

    Attributes:
        is_right: Commands may leave by the last answer; so they may while there is none any more.
        checked: Which check was made, in words.
        reasons: Why commands may not leave, by kind; read at every control step.
    """

    def __init__(self, node: LifecycleNode, wanted: Wanted, may_switch: Callable[[], bool] | None) -> None:
        self._node, self._wanted, self._may_switch = node, wanted, may_switch
        self._switches = may_switch is not None  # still to be done
        self._log = node.get_logger()
        self._since = self._asked_at = time.monotonic()
        self._asked: Future | None = None
        self._was_there = False
        self._switched: Verdict | None = None
        self._refused = ""
        self.reasons: Mapping[str, str] = NO_REASONS
        self.checked, self.is_right = "", bool(WHY_NOT)
        if WHY_NOT:
            self._note_check(f"subscribers only: {WHY_NOT}")
            self._list = self._switch = None
            return
        self._list = node.create_client(ListControllers, f"{wanted.manager}/list_controllers")
        self._switch = node.create_client(SwitchController, f"{wanted.manager}/switch_controller")
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(LOOK_S, self._look, clock=clock)
        self._hold(f"looks for {wanted.manager}")

    def _look(self) -> None:
        """Ask again, or say what is missing."""
        now = time.monotonic()
        if self._asked is not None and now - self._asked_at < ANSWERS_S:
            return
        if self._asked is not None:
            self._hold(f"{self._wanted.manager} gave no answer for {now - self._asked_at:.0f} s")
        if self._list.service_is_ready():
            self._was_there, self._asked_at = True, now
            self._asked = self._list.call_async(ListControllers.Request())
            self._asked.add_done_callback(self._on_list)
        elif self._was_there:
            self._hold(f"{self._wanted.manager} is gone")
        elif now - self._since > APPEARS_S:
            self._note_check(f"subscribers only: there is no {self._wanted.manager}")
            self.reasons, self.is_right = NO_REASONS, True

    def _on_list(self, future: Future) -> None:
        if future is not self._asked:
            return
        self._asked = None
        answer = future.result()
        verdict = judge(self._wanted, [_listed(each) for each in answer.controller])
        self._note_check(f"by {self._wanted.manager}")
        self.is_right = not verdict.reason
        if self.is_right:
            self.reasons, self._switches = NO_REASONS, False  # what is done later is somebody's wish
        elif verdict.can_switch and self._switches:
            self._activate_when_allowed(verdict)
        else:
            self._hold(verdict.line + self._refused)

    def _activate_when_allowed(self, verdict: Verdict) -> None:
        """Ask once for the wanted controller in the place of those that have its joints."""
        if self._may_switch is None or not self._may_switch():
            self._hold(f"{self._wanted.controller.name} is activated when the actor is active and its learner there")
            return
        self._switches, self._switched = False, verdict
        name = self._wanted.controller.name
        self._hold(f"activates {name}")
        self._log.warning(f"activates {name}, deactivates {_names(verdict.deactivate)}")
        future = self._switch.call_async(_request([name], verdict.deactivate))
        future.add_done_callback(self._on_switched)

    def _on_switched(self, future: Future) -> None:
        answer = future.result()
        if not answer.ok:
            self._switched = None
            self._refused = f" (switch_controller was refused: {getattr(answer, 'message', '')})"

    def restore(self) -> None:
        """Deactivate what was activated, and activate what was active before; the arm is at rest."""
        if self._switched is None:
            return
        former, self._switched = self._switched.deactivate, None
        self._switches = True  # in the next activation
        name = self._wanted.controller.name
        self._log.warning(f"deactivates {name}, activates {_names(former)}")
        future = self._switch.call_async(_request(former, [name]))
        is_executor = threading.current_thread().name == "executor"  # whose work the answer is
        given_up = time.monotonic() + ANSWERS_S
        while not is_executor and not future.done() and time.monotonic() < given_up:
            time.sleep(0.01)
        if not is_executor and not (future.done() and future.result().ok):
            self._log.error(f"{self._wanted.manager} did not restore {_names(former)}")

    def close(self) -> None:
        """Restore what is not yet restored, and let go of the clients; the timer is the node's to destroy."""
        self.restore()
        if self._list is not None:
            self._node.destroy_client(self._list)
            self._node.destroy_client(self._switch)

    def _hold(self, why: str) -> None:
        self.reasons = {"controller": why}

    def _note_check(self, checked: str) -> None:
        if checked != self.checked:
            self.checked = checked
            self._log.info(f"controller {self._wanted.controller.name} is checked {checked}")


def _listed(state: Any) -> Listed:
    """Return a controller of the answer, as the decision takes it."""
    required = tuple(state.required_command_interfaces)
    return Listed(state.name, state.type, state.state, tuple(state.claimed_interfaces), required)


def _request(activate: Any, deactivate: Any) -> Any:
    request = SwitchController.Request(strictness=SwitchController.Request.STRICT)
    request.activate_controllers = list(activate)
    request.deactivate_controllers = list(deactivate)
    request.timeout.sec = round(SWITCHES_S)
    return request


def _names(controllers: Any) -> str:
    return ", ".join(controllers) or "nothing"
