"""The way to the learner: transitions out, reports and policies in."""

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
    """The intakes and the outbox between one actor and its learner.

    Args:
        node: The actor's.
        config: Its parameters.
        actor: Gets the policies.
        diagnostics: Counts faults.
        ledger: Keeps transitions that no learner has yet.
        run: Names this process on the replay topic.
        period_s: Of control on the steady clock [s]; a policy must answer within a share of it.
        before: The link of an earlier configuration, whose numbers go on; None: there was none.
        on_policy: Called after each policy, taken or refused.

    Attributes:
        outbox: Transitions on their way.
        barrier: Closed until the learner has accepted the run.
        policies: Policies on their way.
        progress: Reports of the learner.
        progress_topic: Name of the reports, resolved.

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
        """Create the subscriptions.

        Args:
            takes_policies: Policies of the policy topic are taken.
        """
        if takes_policies:
            self._node.create_subscription(
                UInt8MultiArray, "policy", self.policies.on_policy, LATCHED
            )
        self._node.reading.subscribe(
            UInt64MultiArray, PROGRESS_TOPIC, self.progress.on_message, RELIABLE
        )

    def prepare(self) -> None:
        """Forget the learner that was there before an activation."""
        self.barrier.close()
        self.outbox.prepare()

    def start(self) -> None:
        """Start the threads of transitions and policies."""
        self.outbox.start()
        self._policies_thread = NodeThread(self._node, self.policies.install_policies, "policies")
        self._policies_thread.start()

    def finish(self) -> None:
        """End the threads; leave a learner that is there the time to have everything."""
        self.policies.finish()
        if self._policies_thread is not None:
            self._policies_thread.join()
        self.outbox.finish()

    def values(self) -> dict[str, str | int]:
        """Return counts of transitions and the policy's version by key of /diagnostics."""
        return {
            "transitions": self.outbox.made,
            "unacknowledged": self.outbox.lacking,
            "policy_version": self.policies.version,
        }
