"""Read the progress reports of the learner, and pass on what follows from them.

A report says which transitions the learner has and which policy is its newest. The first report
opens the barrier of a training. A report may end the wait of a command in lockstep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from std_msgs.msg import UInt64MultiArray

from sql_ros.common.errors import MessageError, SignatureError
from sql_ros.nodes.barrier import LearnerBarrier
from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.limit import TransitionLimit
from sql_ros.nodes.managed import ManagedNode
from sql_ros.nodes.message_signing import FollowedLearner
from sql_ros.nodes.messages import Progress, progress_from_msg
from sql_ros.nodes.policy_intake import PolicyIntake
from sql_ros.nodes.transition_outbox import TransitionOutbox
from sql_ros.robot.control.episode_actor import Actor

NO_PROGRESS = Progress(0, 0, 0, {})


class ProgressIntake:
    """Checks progress reports and passes on what follows from them.

    Args:
        node: The actor node; a report opens the barrier only while it is active.
        actor: The actor, which gets another random seed if an earlier run is resumed.
        followed: Learner whose reports are accepted.
        barrier: Barrier that the first report opens; it also knows the session of the stack.
        policies: Learns that another learner is followed.
        outbox: Learns which transitions the learner has.
        limit: Limit of the transitions of the run.
        diagnostics: Counts reports that are refused.
        run: Number that identifies this process in reports.
        trains: Whether the actor makes transitions for the learner.

    Attributes:
        progress: Newest report; `NO_PROGRESS` before the first.
        on_accepted: Called when a report opens the barrier, in the reading thread.
        on_progress: Called after every report that is accepted, in the reading thread.
    """

    def __init__(
        self,
        node: ManagedNode,
        actor: Actor,
        followed: FollowedLearner,
        barrier: LearnerBarrier,
        policies: PolicyIntake,
        outbox: TransitionOutbox,
        limit: TransitionLimit,
        diagnostics: Diagnostics,
        run: int,
        *,
        trains: bool,
    ) -> None:
        self._node = node
        self._actor = actor
        self._followed = followed
        self._barrier = barrier
        self._policies = policies
        self._outbox = outbox
        self._limit = limit
        self._diagnostics = diagnostics
        self._run = run
        self._trains = trains
        self.progress = NO_PROGRESS
        self.on_accepted: Callable[[], None] = _nothing
        self.on_progress: Callable[[], None] = _nothing

    def on_message(self, message: UInt64MultiArray) -> None:
        """Take a report: acknowledge transitions, open the barrier, and call the callbacks.

        The barrier is opened only while the node is active. If the first report counts more
        transitions than this process has made, an earlier run is resumed, and a training actor gets
        another random seed. If the report is of another learner than before, the policy intake is
        told. A report that cannot be used is counted and dropped, see `_read`.

        Args:
            message: The report.
        """
        before = self._followed.session
        progress = self._read(message)
        if progress is None:
            return
        is_first = self.progress is NO_PROGRESS
        if self._trains and is_first and progress.transitions > self._outbox.made:
            # transitions of an earlier session, perhaps with the same seed
            self._actor.reseed_after(progress.transitions)
        self.progress = progress
        acknowledged = progress.acknowledged.get(self._run, 0)
        self._outbox.acknowledge(acknowledged, self._followed.session)
        if self._followed.session != before:
            self._policies.on_learner()
        if not self._node.ended.is_set() and self._barrier.open():
            self.on_accepted()
        self.on_progress()

    def _read(self, message: UInt64MultiArray) -> Progress | None:
        """Return the report of a message.

        Args:
            message: Received message; a signature is removed in place.

        Returns:
            The report. None, and a fault is counted, if the signature is wrong, the message is
            malformed, or the report is of a learner of another session.
        """
        try:
            self._followed.verify_progress(message)
            progress = progress_from_msg(message)
        except SignatureError as error:
            self._diagnostics.fault("progress_refused", str(error))
            return None
        except MessageError as error:
            self._diagnostics.fault("progress_dropped", str(error))
            return None
        if complaint := self._barrier.complaint(progress):
            self._diagnostics.fault("progress_foreign", complaint)
            return None
        return progress

    @property
    def is_level(self) -> bool:
        """Return whether the learner has acknowledged every transition of this actor, and its
        newest policy was accepted or refused. In lockstep an acknowledged transition is trained on.
        """
        progress = self.progress
        is_trained = progress.acknowledged.get(self._run, 0) >= self._outbox.made
        return is_trained and self._policies.handled_version >= progress.policy_version

    @property
    def is_over(self) -> bool:
        """Return whether the run has reached the limit of its transitions."""
        return self._limit.is_reached(self.progress, self._outbox.made)

    def reasons(self, now: float) -> Mapping[str, str]:
        """Return why the arm must be held at the end of a training, see `Guard.conditions`."""
        return self._limit.reasons(self.progress, self._outbox.made)


def _nothing() -> None:
    """Do nothing: no callback is set."""
