"""The checks that only a real arm needs: rivals, identification, description, an orderly end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from sql_ros.nodes.actor_config import ActorConfig
from sql_ros.nodes.actor_setup import LoadedTask
from sql_ros.nodes.command_rivals import CommandRivals
from sql_ros.nodes.description_watch import DescriptionWatch
from sql_ros.nodes.ending import ENDING
from sql_ros.nodes.guard import Guard
from sql_ros.nodes.identifying import ArmIdentification
from sql_ros.nodes.managed import ManagedNode
from sql_ros.nodes.state_intake import TOPIC
from sql_ros.robot.driver.held_pose import HeldPose
from sql_ros.robot.safety.payload import PayloadObserver
from sql_ros.robot.safety.unfinished import Unfinished
from sql_ros.robot.tasks import described_robot


class RealArm:
    """The checks of a real arm, made by the constructor. A simulated arm has none of them; in a dry
    run the description of the arm and the payload are the only ones.

    Args:
        node: The actor node.
        config: Parameters of the actor.
        loaded: Task, and identity of the arm.
        guard: Guard, with the permit that is withdrawn where a start is required.
        payload: Observes the payload from the motion of the arm; None: nothing does.
        is_real: Whether the arm is real.

    Attributes:
        is_commanded: Whether the arm is real and commands are sent, so not in a dry run.
        held_pose: Detects that a held arm was moved; None unless commanded in position mode.
        identifying: Identification of the arm; None unless commanded.
        rivals: Watch for other publishers of the commands; None unless commanded.

    Raises:
        ConfigError: The measurement record of the arm cannot be used.
    """

    def __init__(
        self,
        node: ManagedNode,
        config: ActorConfig,
        loaded: LoadedTask,
        guard: Guard,
        payload: PayloadObserver | None,
        *,
        is_real: bool,
    ) -> None:
        task = loaded.task
        robot = task.robot
        self._log = node.get_logger()
        self._guard = guard
        self.is_commanded = is_real and not config.dry_run
        self.held_pose: HeldPose | None = None
        self.identifying: ArmIdentification | None = None
        self.rivals: CommandRivals | None = None
        self._unfinished: Unfinished | None = None
        if self.is_commanded:
            assert loaded.arm is not None  # a real arm has an identity
            if task.spec.command_mode == "position":
                self.held_pose = HeldPose(robot.reckoned_latency_s)
            states = node.resolve_topic_name(TOPIC)
            self._unfinished = Unfinished(states, robot.wire_joints, node.commanded())
            self.rivals = CommandRivals(node, node.presence, node.commanded(), node.owns)
            self.identifying = ArmIdentification(
                node,
                task,
                loaded.arm,
                guard.permit,
                config.identify,
                declares_latency=loaded.declares_latency,
            )
        # in a simulation the payload is no reason to hold: trials put loads into the hand
        self._payload = payload if is_real else None
        compares = is_real and config.compares_description
        self._description = DescriptionWatch(node, described_robot(task)) if compares else None

    def conditions(self) -> list[Callable[[float], Mapping[str, str]]]:
        """Return the conditions of these checks, for `Guard.conditions`: other publishers of
        commands, the payload, the description of the arm. Those that are not made are left out.
        """
        conditions: list[Callable[[float], Mapping[str, str]]] = []
        rivals, payload, description = self.rivals, self._payload, self._description
        if rivals is not None:
            conditions.append(lambda now: rivals.reasons)
        if payload is not None:
            conditions.append(lambda now: payload.reasons)
        if description is not None:
            conditions.append(lambda now: description.reasons)
        return conditions

    def prepare(self) -> None:
        """Begin an activation: require a start if the last actor of this arm did not end in order
        (`unfinished.py`), restart the identification, and look for other publishers of commands.
        """
        if self._unfinished is not None and (left := self._unfinished.read()):
            self._guard.permit.withdraw(left)
        if self.identifying is not None:
            self.identifying.forget()
        if self.rivals is not None:
            self.rivals.update()

    def begin(self) -> None:
        """Write to disk that the arm is commanded from now on; warn if that cannot be written."""
        if self._unfinished is not None and not self._unfinished.begin():
            text = "whether this actor ended in order cannot be noted: see XDG_STATE_HOME"
            self._log.warning(text)

    def end(self, failure: Exception | None) -> None:
        """Write to disk how the activation ends, and require a start in the next activation. For an
        arm that is not commanded nothing is done.

        Args:
            failure: Error that ends the node; None: there is none.
        """
        if self._unfinished is not None:
            self._unfinished.end(self._why_next_must_wait(failure))
            self._guard.permit.withdraw("the actor was deactivated")

    def _why_next_must_wait(self, failure: Exception | None) -> str:
        """Return the end of this activation, if because of it the next actor of this arm must wait
        for a start: while anything held the arm, by an error, or in a hurry (`ENDING.is_hurried`:
        after a signal other than a first Ctrl-C).

        Args:
            failure: Error that ends the node; None: there is none.

        Returns:
            The end in words, for the record; empty if the next actor need not wait.
        """
        if held := self._guard.why_held(time.monotonic()):
            return f"while the arm was held: {held}"
        if failure is not None:
            return f"by an error ({type(failure).__name__}: {failure})"
        return "by a signal other than a Ctrl-C" if ENDING.is_hurried else ""

    def values(self) -> dict[str, str | int]:
        """Return the result of the description's comparison, /diagnostics key to value."""
        return dict(self._description.values()) if self._description is not None else {}
