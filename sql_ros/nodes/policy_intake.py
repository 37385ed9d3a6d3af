"""Takes policies from a topic (hop 7 of the walk).

They are checked and warmed up outside the control loop, and replace the policy in use by one
assignment.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable

from std_msgs.msg import UInt8MultiArray

from sql_ros.common.errors import MessageError, PolicyError
from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.message_signing import FollowedLearner
from sql_ros.nodes.messages import policy_from_msg
from sql_ros.policy.runtime import Policy
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.control.realtime import step_back
from sql_ros.robot.policy_file import check_speed

# policies kept for a node that is not active, which installs none; the newest are kept
MOST_WAITING = 8


class PolicyIntake:
    """Gives an actor the policies that arrive; refuses and counts bad ones, and keeps the one in
    use.

    Args:
        actor: Its `policy` is replaced between two steps.
        followed: The learner whose policies are accepted.
        diagnostics: Counts refused policies.
        on_handled: Called after each policy, accepted or refused.
        period_s: Control period, see `check_speed` [s].

    Attributes:
        handled_version: Version of the last policy accepted or refused, for which lockstep waits.
    """

    def __init__(
        self,
        actor: Actor,
        followed: FollowedLearner,
        diagnostics: Diagnostics,
        on_handled: Callable[[], None],
        period_s: float = math.inf,
    ) -> None:
        self._period_s = period_s
        self._actor = actor
        self._followed = followed
        self._diagnostics = diagnostics
        self._on_handled = on_handled
        self._waiting: deque[UInt8MultiArray] = deque(maxlen=MOST_WAITING)
        self._news = threading.Condition()
        self._is_to_end = False
        self._replaced: Policy | None = None
        self.handled_version = 0

    @property
    def version(self) -> int:
        """Return the version of the policy in use; 0 while there is none."""
        policy = self._actor.policy
        return policy.info.version if policy else 0

    def on_policy(self, message: UInt8MultiArray) -> None:
        """Store a message with a policy. Of more than `MOST_WAITING` the oldest is dropped."""
        with self._news:
            self._waiting.append(message)
            self._news.notify()

    def on_learner(self) -> None:
        """Take the policy that came before the first progress of its learner."""
        held = self._followed.take_waiting_policy()
        if held is not None:
            self.on_policy(held)

    def install_policies(self) -> None:
        """Body of the thread `policies`: check, warm up and install policies, until `finish`."""
        step_back()
        while (message := self._next()) is not None:
            try:
                if not self._followed.verify_policy(message):
                    continue
                policy = Policy(
                    policy_from_msg(message), self._actor.task.spec, ranks=self._actor.deterministic
                )
                check_speed(policy, self._period_s)
            except (MessageError, PolicyError) as error:
                self._refuse(f"{error}; version {self.version} stays in use")
                continue
            # `_replaced` keeps the former policy: this thread destroys it, not a control step
            self._replaced = self._actor.policy
            self._actor.policy = policy
            self.handled_version = policy.info.version
            self._on_handled()

    def finish(self) -> None:
        """End the thread, after the policies that have arrived."""
        with self._news:
            self._is_to_end = True
            self._news.notify()

    def _next(self) -> UInt8MultiArray | None:
        """Return the oldest policy that waits, or the next one to arrive; None when the
        thread is to end.
        """
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._is_to_end)
            if self._waiting:
                return self._waiting.popleft()
            self._is_to_end = False
            return None

    def _refuse(self, reason: str) -> None:
        """Count a refused policy as handled, so that lockstep continues."""
        self._diagnostics.fault("policy_refused", reason)
        self.handled_version += 1
        self._on_handled()
