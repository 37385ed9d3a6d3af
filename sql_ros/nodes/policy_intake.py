"""Take policies from a topic: step 7 of the path of a transition (CONTRIBUTING.md).

A thread of its own checks and warms up each policy. One assignment then replaces the policy in use,
so the control loop never waits.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable

from std_msgs.msg import UInt8MultiArray

from sql_ros.common.errors import MessageError, PolicyError
from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.message_signing import FollowedLearner
from sql_ros.nodes.messages import policy_from_msg
from sql_ros.policy.blend import Blend
from sql_ros.policy.runtime import Policy
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.control.realtime import lower_priority
from sql_ros.robot.policy_file import check_speed

_logger = logging.getLogger(__name__)
# largest number of policies that wait for the thread, which does not run in an inactive node
MOST_WAITING = 8


class PolicyIntake:
    """Gives the policies that arrive to an actor. A bad one is counted and refused; the policy in
    use then stays.

    Args:
        actor: Actor whose attribute `policy` is replaced.
        followed: Learner whose policies are accepted.
        diagnostics: Counts refused policies.
        on_handled: Called in the thread after each policy, accepted or refused.
        period_s: Control period on the steady clock, of which an inference may take a share [s];
            infinite: the time of an inference is not checked.

    Attributes:
        handled_version: Version of the last policy that was accepted, plus one for each refused
            since then. In lockstep the control loop compares it with the learner's version.
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
        self._replaced: Policy | Blend | None = None
        self._has_other_code = False  # the warning was logged
        self.handled_version = 0

    @property
    def version(self) -> int:
        """Return the version of the policy in use; 0 while there is none."""
        policy = self._actor.policy
        return policy.info.version if policy else 0

    def on_policy(self, message: UInt8MultiArray) -> None:
        """Store a policy message for the thread. If more than `MOST_WAITING` wait, drop the oldest.

        Args:
            message: The policy.
        """
        with self._news:
            self._waiting.append(message)
            self._news.notify()

    def on_learner(self) -> None:
        """Store the policy that was kept until its learner sent a progress report, if there is one.

        Called when another learner is followed.
        """
        held = self._followed.take_waiting_policy()
        if held is not None:
            self.on_policy(held)

    def install_policies(self) -> None:
        """Body of the thread `policies`: check, warm up and install policies, until `finish`.

        A malformed policy, one that does not fit the task, and one that is too slow are refused.
        """
        lower_priority()
        while (message := self._next()) is not None:
            try:
                if not self._followed.verify_policy(message):
                    continue
                policy = Policy(
                    policy_from_msg(message), self._actor.task.spec, ranks=self._actor.deterministic
                )
                check_speed(policy, self._period_s)
                self._compare_code(policy)
            except (MessageError, PolicyError) as error:
                self._refuse(f"{error}; version {self.version} stays in use")
                continue
            # `_replaced` keeps the former policy: this thread destroys it, not a control step
            self._replaced = self._actor.policy
            self._actor.policy = policy
            self.handled_version = policy.info.version
            self._on_handled()

    def _compare_code(self, policy: Policy) -> None:
        """Log a warning, once, if a policy was trained with other code of the task."""
        complaint = self._actor.task.spec.code_complaint(policy.info.task_code)
        if complaint and not self._has_other_code:
            _logger.warning("the policy was trained %s", complaint)
            self._has_other_code = True

    def finish(self) -> None:
        """Let the thread end after the policies that wait. Does not wait for the thread."""
        with self._news:
            self._is_to_end = True
            self._news.notify()

    def _next(self) -> UInt8MultiArray | None:
        """Remove and return the oldest policy that waits; block until there is one.

        Returns:
            The message; None if none waits and the thread is to end.
        """
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._is_to_end)
            if self._waiting:
                return self._waiting.popleft()
            self._is_to_end = False
            return None

    def _refuse(self, reason: str) -> None:
        """Count a fault for a refused policy, and count the policy as handled, so that a control
        loop in lockstep continues.

        Args:
            reason: Why it is refused.
        """
        self._diagnostics.fault("policy_refused", reason)
        self.handled_version += 1
        self._on_handled()
