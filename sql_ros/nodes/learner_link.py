"""Connect the actor to its learner: transitions go out, progress reports and policies come in."""

from __future__ import annotations

from collections.abc import Callable

from std_msgs.msg import UInt8MultiArray, UInt64MultiArray

from sql_ros.common.transition_log import Ledger
from sql_ros.nodes.actor_config import ActorConfig
from sql_ros.nodes.barrier import LearnerBarrier
from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.limit import TransitionLimit
from sql_ros.nodes.managed import ManagedNode
from sql_ros.nodes.message_signing import FollowedLearner, MessageSigner
from sql_ros.nodes.messages import TransitionCodec
from sql_ros.nodes.policy_intake import PolicyIntake
from sql_ros.nodes.process import NodeThread
from sql_ros.nodes.progress_intake import ProgressIntake
from sql_ros.nodes.qos import LATCHED, RELIABLE
from sql_ros.nodes.transition_outbox import TransitionOutbox
from sql_ros.robot.control.episode_actor import Actor

PROGRESS_TOPIC = "learner/progress"


class LearnerLink:
    """The parts between one actor and its learner; the constructor makes and connects them.

    Args:
        node: The actor node.
        config: Parameters of the actor.
        actor: The actor, which receives the policies.
        diagnostics: Counts faults.
        ledger: Log of the transitions that no learner has acknowledged.
        run: Number that identifies this process on the replay topic.
        period_s: Control period on the steady clock [s]. A policy must answer within a share of it.
        before: Link of the earlier `configure`, whose sequence numbers are continued; None: there
            was none.
        on_policy: Called after each policy, accepted or refused.

    Attributes:
        outbox: Publishes and keeps transitions.
        barrier: Closed until the learner has accepted the run.
        policies: Checks policies that arrive and gives them to the actor.
        progress: Reads the progress reports of the learner.
        progress_topic: Resolved topic of the progress reports.

    Raises:
        ConfigError: The key file cannot be used.
    """

    def __init__(
        self,
        node: ManagedNode,
        config: ActorConfig,
        actor: Actor,
        diagnostics: Diagnostics,
        ledger: Ledger,
        run: int,
        period_s: float,
        before: LearnerLink | None,
        on_policy: Callable[[], None],
    ) -> None:
        self._node = node
        signer = MessageSigner(config.key_file)
        followed = FollowedLearner(signer)
        self.progress_topic = node.resolve_topic_name(PROGRESS_TOPIC)
        self.barrier = LearnerBarrier(config.session, self.progress_topic, trains=config.trains)
        self.policies = PolicyIntake(actor, followed, diagnostics, on_policy, period_s)
        self.outbox = TransitionOutbox(
            node,
            TransitionCodec(actor.task.spec),
            signer,
            diagnostics,
            config.actor_id,
            run,
            ledger,
        )
        if before is not None:
            self.outbox.made = before.outbox.made
            self.outbox.acknowledged = before.outbox.acknowledged
        self.progress = ProgressIntake(
            node,
            actor,
            followed,
            self.barrier,
            self.policies,
            self.outbox,
            TransitionLimit(config.most_transitions if config.trains else 0, run),
            diagnostics,
            run,
            trains=config.trains,
        )
        self._policies_thread: NodeThread | None = None

    def subscribe(self, *, takes_policies: bool) -> None:
        """Create the subscriptions to progress reports and, if wanted, to policies.

        Args:
            takes_policies: Whether to subscribe to the policy topic.
        """
        if takes_policies:
            self._node.create_subscription(
                UInt8MultiArray, "policy", self.policies.on_policy, LATCHED
            )
        self._node.reading.subscribe(
            UInt64MultiArray, PROGRESS_TOPIC, self.progress.on_message, RELIABLE
        )

    def prepare(self) -> None:
        """Begin an activation: close the barrier of a training, and drop the outbox's old work."""
        self.barrier.close()
        self.outbox.prepare()

    def start(self) -> None:
        """Start the threads `delivery` (transitions) and `policies`."""
        self.outbox.start()
        self._policies_thread = NodeThread(self._node, self.policies.install_policies, "policies")
        self._policies_thread.start()

    def finish(self) -> None:
        """End both threads, after the policies that have arrived and a wait for the learner to
        acknowledge the last transitions (`TransitionOutbox.finish`).
        """
        self.policies.finish()
        if self._policies_thread is not None:
            self._policies_thread.join()
        self.outbox.finish()

    def values(self) -> dict[str, str | int]:
        """Return the number of transitions made, the number not acknowledged, and the version of
        the policy, /diagnostics key to value.
        """
        return {
            "transitions": self.outbox.made,
            "unacknowledged": self.outbox.lacking,
            "policy_version": self.policies.version,
        }
