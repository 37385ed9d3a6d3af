"""Hop 7 of the walk: policies from a topic, checked and warmed up off the control path, taken over by one assignment."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from std_msgs.msg import UInt8MultiArray

from sql_ros.core.errors import MessageError, PolicyError
from sql_ros.core.policy import Policy
from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.messages import policy_from_msg
from sql_ros.nodes.seal import Followed
from sql_ros.robot.actor import Actor
from sql_ros.robot.realtime import step_back

MOST_WAITING = 8  # policies; a node that is not active takes none, and the newest are what it may go on with


class PolicyIntake:
    """Gives an actor the policies that arrive; a bad one is refused and counted, the one in use stays.

    Args:
        actor: whose `policy` is replaced between two steps.
        followed: whose policies are taken.
        diagnostics: counts.
        on_handled: called after each policy, taken or refused.

    Attributes:
        handled_version: of the last policy taken or refused: lockstep waits for it.
    """

    def __init__(self, actor: Actor, followed: Followed, diagnostics: Diagnostics, on_handled: Callable[[], None]) -> None:
        self._actor, self._followed, self._diagnostics, self._on_handled = actor, followed, diagnostics, on_handled
        self._waiting: deque[UInt8MultiArray] = deque(maxlen=MOST_WAITING)
        self._news, self._is_to_end = threading.Condition(), False
        self._former: Policy | None = None
        self.handled_version = 0

    @property
    def version(self) -> int:
        """Of the policy in use; 0 while there is none."""
        policy = self._actor.policy
        return policy.info.version if policy else 0

    def on_policy(self, message: UInt8MultiArray) -> None:
        """The callback: stores; of those that nobody takes over the oldest goes."""
        with self._news:
            self._waiting.append(message)
            self._news.notify()

    def on_learner(self) -> None:
        """Another learner has been heard: the policy that came before may be from it."""
        held = self._followed.take_held()
        if held is not None:
            self.on_policy(held)

    def install_policies(self) -> None:
        """Body of the thread `policies`, until `finish`."""
        step_back()
        while (message := self._next()) is not None:
            try:
                if not self._followed.open_policy(message):
                    continue
                policy = Policy(policy_from_msg(message), self._actor.task.spec, ranks=self._actor.deterministic)
            except (MessageError, PolicyError) as error:
                self._refuse(f"{error}; version {self.version} stays in use")
                continue
            # the former one is taken apart by this thread when the next one comes, not by the step that is the last to use it
            self._former, self._actor.policy = self._actor.policy, policy
            self.handled_version = policy.info.version
            self._on_handled()

    def finish(self) -> None:
        """Ends the thread, after what has arrived."""
        with self._news:
            self._is_to_end = True
            self._news.notify()

    def _next(self) -> UInt8MultiArray | None:
        """The oldest that waits, or the first that comes; None once the thread is to end."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._is_to_end)
            if self._waiting:
                return self._waiting.popleft()
            self._is_to_end = False
            return None

    def _refuse(self, reason: str) -> None:
        """The refused policy counts as handled, so that lockstep goes on."""
        self._diagnostics.fault("policy_refused", reason)
        self.handled_version += 1
        self._on_handled()
