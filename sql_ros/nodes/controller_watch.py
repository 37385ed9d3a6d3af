"""Asks the arm's controller_manager whether commands reach the right controller.

controller_manager_msgs is part of a ROS 2 with ros2_control and not on PyPI. Where it cannot be
imported, or nobody offers `list_controllers`, only the subscribers of the command topic are
counted. `ControllerWatch.checked` says which check was made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.task import Future

from sql_ros.nodes.steady_timer import steady_timer
from sql_ros.robot.controllers import ControllerConfig
from sql_ros.robot.driver.controller_check import ListedController, Verdict, WantedController, judge
from sql_ros.robot.safety.state_watchdog import NO_REASONS

try:
    from controller_manager_msgs.srv import ListControllers, SwitchController

    WHY_NOT = ""
except ImportError as error:
    ListControllers = SwitchController = None
    WHY_NOT = f"controller_manager_msgs cannot be imported ({error})"

QUERY_S = 0.5
APPEARS_S = 2.0  # to discover a controller_manager that runs
ANSWERS_S = 3.0  # longest wait for an answer
SWITCHES_S = 5.0
SUFFIXES = ("/commands", "/joint_trajectory")  # of a command topic, after the controller's name


def wanted_controller(
    controller: ControllerConfig, mode: str, joints: tuple[str, ...], topic: str, namespace: str
) -> WantedController:
    """Return the controller that the commands go to, and its controller_manager.

    Args:
        controller: Controller of the robot file.
        mode: Command mode.
        joints: Joint names on topics, in command order.
        topic: Command topic, resolved. `<namespace>/<controller>/commands` names a controller and a
            namespace, which replace those of the robot file and the actor.
        namespace: Namespace of the actor.
    """
    for suffix in SUFFIXES:
        where, _, name = topic.removesuffix(suffix).rpartition("/")
        if name and topic.endswith(suffix) and not controller.topic:
            manager = f"{where}/controller_manager"
            return WantedController(replace(controller, name=name), mode, joints, manager)
    return WantedController(controller, mode, joints, f"{namespace.rstrip('/')}/controller_manager")


class ControllerWatch:
    """Queries the controller_manager every half second, in the node's executor.

    Args:
        node: The actor.
        wanted: Controller that the commands need.
        may_switch: Returns whether the controller may be activated now, where only that is missing.
            At the end the former controllers are restored. None: it is never activated.

    Attributes:
        is_right: Whether commands may leave by the last answer, or because none is expected any
            more.
        checked: Which check was made, in words.
        reasons: Why the arm must be held, by kind; read at every control step.
    """

    def __init__(
        self, node: LifecycleNode, wanted: WantedController, may_switch: Callable[[], bool] | None
    ) -> None:
        self._node = node
        self._wanted = wanted
        self._may_switch = may_switch
        self._switches = may_switch is not None  # a switch is still to be made
        self._log = node.get_logger()
        self._since = self._queried_at = time.monotonic()
        self._pending: Future | None = None
        self._was_there = False
        self._switched: Verdict | None = None
        self._refused = ""
        self.reasons: Mapping[str, str] = NO_REASONS
        self.checked = ""
        self.is_right = bool(WHY_NOT)
        self._list: Any = None  # clients, where controller_manager_msgs is installed
        self._switch: Any = None
        if WHY_NOT:
            self._log_check(f"subscribers only: {WHY_NOT}")
            return
        self._list = node.create_client(ListControllers, f"{wanted.manager}/list_controllers")
        self._switch = node.create_client(SwitchController, f"{wanted.manager}/switch_controller")
        self._timer = steady_timer(node, QUERY_S, self._query)
        self._hold(f"looks for {wanted.manager}")

    def _query(self) -> None:
        """Query the controllers again, or hold the arm with the reason why that is impossible."""
        now = time.monotonic()
        if self._pending is not None and now - self._queried_at < ANSWERS_S:
            return
        if self._pending is not None:
            self._hold(
                f"{self._wanted.manager} has not answered for {now - self._queried_at:.0f} s"
            )
        if self._list.service_is_ready():
            self._was_there = True
            self._queried_at = now
            self._pending = self._list.call_async(ListControllers.Request())
            self._pending.add_done_callback(self._on_list)
        elif self._was_there:
            self._hold(f"{self._wanted.manager} is gone")
        elif now - self._since > APPEARS_S:
            self._log_check(f"subscribers only: there is no {self._wanted.manager}")
            self.reasons = NO_REASONS
            self.is_right = True

    def _on_list(self, future: Future) -> None:
        """Judge an answer; activate the wanted controller where that is allowed."""
        if self._pending is None or future is not self._pending:
            return
        self._pending = None
        answer = future.result()
        verdict = judge(self._wanted, [_listed(each) for each in answer.controller])
        self._log_check(f"by {self._wanted.manager}")
        self.is_right = not verdict.reason
        if self.is_right:
            # a later change is made by somebody else, and is not reverted
            self.reasons = NO_REASONS
            self._switches = False
        elif verdict.can_switch and self._switches:
            self._activate_when_allowed(verdict)
        else:
            self._hold(verdict.line + self._refused)

    def _activate_when_allowed(self, verdict: Verdict) -> None:
        """Activate the wanted controller once, in the place of those that use its joints.

        Args:
            verdict: Names the controllers to deactivate.
        """
        if self._may_switch is None or not self._may_switch():
            self._hold(
                f"{self._wanted.controller.name} is activated when the actor is active and its"
                " learner is there"
            )
            return
        self._switches = False
        self._switched = verdict
        name = self._wanted.controller.name
        self._hold(f"activates {name}")
        self._log.warning(f"activates {name}, deactivates {_names(verdict.deactivate)}")
        future = self._switch.call_async(_request([name], verdict.deactivate))
        future.add_done_callback(self._on_switched)

    def _on_switched(self, future: Future) -> None:
        """Keep the reason of a refused switch."""
        answer = future.result()
        if not answer.ok:
            self._switched = None
            self._refused = f" (switch_controller was refused: {getattr(answer, 'message', '')})"

    def restore(self) -> None:
        """Deactivate what this watch activated, and activate the former controllers.

        The arm is at rest. Waits at most `ANSWERS_S` for the answer, in the executor's thread not
        at all.
        """
        if self._switched is None:
            return
        former = self._switched.deactivate
        self._switched = None
        self._switches = True  # again in the next activation
        name = self._wanted.controller.name
        self._log.warning(f"deactivates {name}, activates {_names(former)}")
        future = self._switch.call_async(_request(former, [name]))
        is_executor = (
            threading.current_thread().name == "executor"
        )  # which must be free to receive the answer
        given_up = time.monotonic() + ANSWERS_S
        while not is_executor and not future.done() and time.monotonic() < given_up:
            time.sleep(0.01)
        if not is_executor and not (future.done() and future.result().ok):
            self._log.error(f"{self._wanted.manager} did not restore {_names(former)}")

    def close(self) -> None:
        """Restore what is not restored yet, and destroy the clients. The node destroys the
        timer.
        """
        self.restore()
        if self._list is not None:
            self._node.destroy_client(self._list)
            self._node.destroy_client(self._switch)

    def _hold(self, why: str) -> None:
        self.reasons = {"controller": why}

    def _log_check(self, checked: str) -> None:
        """Log which check is made, where it is another one than before."""
        if checked != self.checked:
            self.checked = checked
            self._log.info(f"controller {self._wanted.controller.name} is checked {checked}")


def _listed(state: Any) -> ListedController:
    """Return a controller of the answer in the form that `judge` takes."""
    required = tuple(state.required_command_interfaces)
    return ListedController(
        state.name, state.type, state.state, tuple(state.claimed_interfaces), required
    )


def _request(activate: Any, deactivate: Any) -> Any:
    """Return a request to switch controllers, all or none.

    Args:
        activate: Names of controllers.
        deactivate: Names of controllers.
    """
    request = SwitchController.Request(strictness=SwitchController.Request.STRICT)
    request.activate_controllers = list(activate)
    request.deactivate_controllers = list(deactivate)
    request.timeout.sec = round(SWITCHES_S)
    return request


def _names(controllers: Any) -> str:
    """Return names of controllers for a log line."""
    return ", ".join(controllers) or "nothing"
