"""Ask the arm's controller_manager whether commands reach the right controller.

The package controller_manager_msgs comes with ros2_control and is not on PyPI. If it cannot be
imported, or no node offers `list_controllers`, this check is omitted, and only the subscribers of
the command topic are checked (`listeners.py`). `ControllerWatch.checked` says which check is made.
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
APPEARS_S = 2.0  # time to discover a controller_manager that runs
ANSWERS_S = 3.0  # longest wait for an answer
SWITCHES_S = 5.0  # time that the controller_manager may take for a switch
SUFFIXES = ("/commands", "/joint_trajectory")  # of a command topic, after the controller's name


def wanted_controller(
    controller: ControllerConfig, mode: str, joints: tuple[str, ...], topic: str, namespace: str
) -> WantedController:
    """Return the controller that must be active for the commands to reach the arm.

    A command topic `<namespace>/<controller>/commands` (or `/joint_trajectory`) names controller
    and namespace, unless the robot file gives the controller a topic. Otherwise they are those of
    the robot file and of the actor.

    Args:
        controller: Controller of the robot file for the mode.
        mode: Command mode.
        joints: Joint names on topics, in command order.
        topic: Resolved command topic.
        namespace: Namespace of the actor.

    Returns:
        The controller and the full name of its controller_manager.
    """
    for suffix in SUFFIXES:
        topic_namespace, _, name = topic.removesuffix(suffix).rpartition("/")
        if name and topic.endswith(suffix) and not controller.topic:
            manager = f"{topic_namespace}/controller_manager"
            return WantedController(replace(controller, name=name), mode, joints, manager)
    return WantedController(controller, mode, joints, f"{namespace.rstrip('/')}/controller_manager")


class ControllerWatch:
    """Queries the controller_manager every `QUERY_S`, in the node's executor.

    Args:
        node: The actor node.
        wanted: Controller that the commands need.
        may_switch: Returns whether the controller may be activated now, if another one is active in
            its place. `restore` undoes the switch. None: it is never activated.

    Attributes:
        is_right: Whether commands may be sent: the last answer listed the right controller as
            active, or the controllers cannot be queried.
        checked: Which check is made, in words; empty before the first answer.
        reasons: Hold kind (`controller`) to description; empty while the right controller is
            active, and where the controllers cannot be queried.
    """

    def __init__(
        self, node: LifecycleNode, wanted: WantedController, may_switch: Callable[[], bool] | None
    ) -> None:
        self._node = node
        self._wanted = wanted
        self._may_switch = may_switch
        self._switches = may_switch is not None  # a switch may still be made
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
        """Send a query, unless one is pending; set `reasons` where there is no answer.

        A query without an answer for `ANSWERS_S` is sent again. If there has been no
        controller_manager for `APPEARS_S` since the start, commands are allowed without the check.
        """
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
        """Set `is_right` and `reasons` from an answer; activate the wanted controller where that
        is allowed. Answers to a query that was given up are ignored.

        Args:
            future: The answer to `list_controllers`.
        """
        if self._pending is None or future is not self._pending:
            return
        self._pending = None
        answer = future.result()
        verdict = judge(self._wanted, [_listed(each) for each in answer.controller])
        self._log_check(f"by {self._wanted.manager}")
        self.is_right = not verdict.reason
        if self.is_right:
            # if another process changes the controllers later, this one does not change them back
            self.reasons = NO_REASONS
            self._switches = False
        elif verdict.can_switch and self._switches:
            self._activate_when_allowed(verdict)
        else:
            self._hold(verdict.line + self._refused)

    def _activate_when_allowed(self, verdict: Verdict) -> None:
        """Ask the controller_manager, once, to activate the wanted controller instead of those that
        use its joints. Before `may_switch` allows that, hold the arm.

        Args:
            verdict: Judgement of the last answer, with the controllers to deactivate.
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
        """Keep the reason of a refused switch for the description of the hold; `restore` has then
        nothing to undo.

        Args:
            future: The answer to `switch_controller`.
        """
        answer = future.result()
        if not answer.ok:
            self._switched = None
            self._refused = f" (switch_controller was refused: {getattr(answer, 'message', '')})"

    def restore(self) -> None:
        """Deactivate the controller that this watch activated, and activate the former ones. If it
        has activated none, nothing is done.

        Call it when the arm is at rest. It waits for the answer, at most `ANSWERS_S`, and logs an
        error if there is none. In the executor's thread, which receives the answer, it does not
        wait.
        """
        if self._switched is None:
            return
        former = self._switched.deactivate
        self._switched = None
        self._switches = True  # again in the next activation
        name = self._wanted.controller.name
        self._log.warning(f"deactivates {name}, activates {_names(former)}")
        future = self._switch.call_async(_request(former, [name]))
        # the executor's thread must be free to receive the answer
        is_executor = threading.current_thread().name == "executor"
        given_up = time.monotonic() + ANSWERS_S
        while not is_executor and not future.done() and time.monotonic() < given_up:
            time.sleep(0.01)
        if not is_executor and not (future.done() and future.result().ok):
            self._log.error(f"{self._wanted.manager} did not restore {_names(former)}")

    def close(self) -> None:
        """Restore the former controllers if that was not done yet, and destroy the clients. The
        node destroys the timer.
        """
        self.restore()
        if self._list is not None:
            self._node.destroy_client(self._list)
            self._node.destroy_client(self._switch)

    def _hold(self, why: str) -> None:
        """Hold the arm, for a reason in words."""
        self.reasons = {"controller": why}

    def _log_check(self, checked: str) -> None:
        """Set `checked` to a description of the check; log it if it has changed."""
        if checked != self.checked:
            self.checked = checked
            self._log.info(f"controller {self._wanted.controller.name} is checked {checked}")


def _listed(state: Any) -> ListedController:
    """Convert a ControllerState message of the answer to the form that `judge` takes."""
    required = tuple(state.required_command_interfaces)
    return ListedController(
        state.name, state.type, state.state, tuple(state.claimed_interfaces), required
    )


def _request(activate: Any, deactivate: Any) -> Any:
    """Return a request to switch all of these controllers or none of them.

    Args:
        activate: Names of the controllers to activate.
        deactivate: Names of the controllers to deactivate.
    """
    request = SwitchController.Request(strictness=SwitchController.Request.STRICT)
    request.activate_controllers = list(activate)
    request.deactivate_controllers = list(deactivate)
    request.timeout.sec = round(SWITCHES_S)
    return request


def _names(controllers: Any) -> str:
    """Return names of controllers for a log line; "nothing" if there are none."""
    return ", ".join(controllers) or "nothing"
