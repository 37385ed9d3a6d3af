"""Publish transitions for a learner: number them, keep them until they are acknowledged, and send
again those that are missing.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from std_msgs.msg import Float64MultiArray

from sql_ros.common.errors import LedgerError, MessageError
from sql_ros.common.transition_log import Ledger
from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.ending import ENDING
from sql_ros.nodes.message_signing import MessageSigner
from sql_ros.nodes.messages import ReplayEntry, TransitionCodec
from sql_ros.nodes.process import NodeThread
from sql_ros.nodes.qos import REPLAY
from sql_ros.policy.transition import Transition
from sql_ros.robot.control.realtime import lower_priority
from sql_ros.robot.control.step import Step

RESEND_S = 2.0  # time without a new acknowledgement after which transitions are sent again
RESENT = 1000  # largest number of transitions that are sent again at once
# largest number of transitions that are kept, on disk if there are many
MOST_KEPT = 1_000_000
# longest wait at the end of an activation until a learner has acknowledged everything
HAND_OVER_S = 4.0
HURRIED_HAND_OVER_S = 1.0  # the same if the process must end soon


class TransitionOutbox:
    """Publishes transitions, keeps those that no learner has acknowledged, and has the delivery
    thread, in which this and other work after a command is done.

    At most `MOST_KEPT` transitions are kept; of more, the oldest are given up.

    Args:
        node: Node of topic and thread.
        codec: Converts transitions to messages.
        signer: Signs the messages.
        diagnostics: Counts faults.
        actor_id: Number of this actor among several that feed one learner.
        run: Number that identifies this process on the replay topic.
        ledger: Log in which transitions are kept.

    Attributes:
        made: Sequence number of the last transition; they count from 1.
        acknowledged: Sequence number up to which a learner has the transitions, or they were given
            up.
        heard: Steady time of the last acknowledgement, or of the start of the activation [s].
        advanced: Steady time at which the learner last acknowledged more, lacked nothing, or was
            sent what it lacked [s].
    """

    def __init__(
        self,
        node: Any,
        codec: TransitionCodec,
        signer: MessageSigner,
        diagnostics: Diagnostics,
        actor_id: int,
        run: int,
        ledger: Ledger,
    ) -> None:
        self._node = node
        self._codec = codec
        self._signer = signer
        self._diagnostics = diagnostics
        self._actor_id = actor_id
        self._run = run
        self._ledger = ledger
        self._session = 0  # session of the learner that transitions are signed for
        self._publisher = node.create_publisher(Float64MultiArray, "replay", REPLAY)
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: NodeThread | None = None
        self.made = 0
        self.acknowledged = 0
        self.heard = self.advanced = time.monotonic()

    @property
    def lacking(self) -> int:
        """Return how many transitions no learner has acknowledged."""
        return self.made - self.acknowledged

    def prepare(self) -> None:
        """Begin an activation: drop work that was not done, and restart the times of waits."""
        self._work = queue.SimpleQueue()
        self.heard = self.advanced = time.monotonic()

    def start(self) -> None:
        """Start the delivery thread."""
        self._thread = NodeThread(self._node, self._run_work, "delivery")
        self._thread.start()

    def finish(self) -> None:
        """Wait until the learner has acknowledged every transition, at most `HAND_OVER_S`, then end
        the thread.
        """
        self._hand_over()
        self._work.put(None)
        if self._thread is not None:
            self._thread.join()

    def put(self, work: Callable[[], None]) -> None:
        """Let the delivery thread run a function, after those given before; return at once."""
        self._work.put(work)

    def acknowledge(self, number: int, session: int) -> None:
        """Let the delivery thread apply an acknowledgement. Without a running thread it is dropped,
        and a later one replaces it.

        Args:
            number: Sequence number up to which the learner has all transitions of this process.
            session: Session of the learner, for which transitions are signed from then on.
        """
        if self._thread is not None and self._thread.is_alive():
            self._work.put(partial(self._take_acknowledgement, number, session))

    def publish(self, step: Step, transition: Transition) -> None:
        """Give a transition the next sequence number, publish it, and keep it until it is
        acknowledged.

        A transition that cannot be written to the log is kept in memory, and a fault is counted.

        Args:
            step: Control step that completed the transition; gives its episode, step and policy.
            transition: The transition. If a value is too large for the message, the transition is
                counted as a fault and dropped, without a number.
        """
        number = self.made + 1
        entry = ReplayEntry(
            self._actor_id,
            self._run,
            step.episode_index,
            step.step_index,
            number,
            step.policy_version,
            transition,
        )
        try:
            content = self._codec.pack(entry)
        except MessageError as error:  # dropped without a number, so no learner waits for it
            self._diagnostics.fault("transition_dropped", str(error))
            return
        self.made = number
        try:
            self._ledger.put(number, content)
            self._give_up_oldest()
        except LedgerError as error:
            self._diagnostics.fault(
                "ledger_failed",
                f"{error}; a transition that could not be written is kept in memory",
            )
        self._send(content, self.acknowledged + 1)

    def _give_up_oldest(self) -> None:
        """If more than `MOST_KEPT` transitions are not acknowledged, delete the oldest, let them
        count as acknowledged, and count a fault.

        Raises:
            LedgerError: The log cannot be written.
        """
        given_up = self.made - MOST_KEPT
        if given_up > self.acknowledged:
            self.acknowledged = given_up
            self._ledger.forget_until(given_up)
            why = f"no learner has acknowledged, and only {MOST_KEPT} are kept"
            self._diagnostics.fault("transitions_given_up", why)

    def _run_work(self) -> None:
        """Body of the delivery thread, at a lower priority than the control loop: run the functions
        given to `put`, in order, until `finish`.

        The work has a thread of its own, because publishing thousands of kept transitions to a
        learner that joins late takes long.
        """
        lower_priority()
        while (work := self._work.get()) is not None:
            work()

    def _take_acknowledgement(self, number: int, session: int) -> None:
        """Apply an acknowledgement. If the log cannot be read or written, count a fault; the next
        acknowledgement then tries again.

        Args:
            number: Sequence number up to which the learner has all transitions of this process.
            session: Session of the learner.
        """
        try:
            self._apply_acknowledgement(number, session)
        except LedgerError as error:
            self._diagnostics.fault(
                "ledger_failed", f"{error}; tried again at the next acknowledgement"
            )

    def _apply_acknowledgement(self, number: int, session: int) -> None:
        """Delete the transitions that the learner has; send the next ones again, if the learner has
        not acknowledged more for `RESEND_S` or is another one.

        Args:
            number: Sequence number up to which the learner has all transitions of this process. One
                above `made` is counted as a fault and ignored.
            session: Session of the learner.

        Raises:
            LedgerError: The log cannot be read or written.
        """
        now = time.monotonic()
        if now - self.heard > RESEND_S:
            self.advanced = now  # a new learner, which receives the last ones from the topic
        self.heard = now
        if number > self.made:
            why = f"{number} transitions are acknowledged of {self.made} made"
            self._diagnostics.fault("progress_dropped", why)
        elif number > self.acknowledged:
            self.acknowledged = number
            self.advanced = now
            self._ledger.forget_until(number)
        elif number >= self.made:
            self.advanced = now
        elif now - self.advanced > RESEND_S:
            self.advanced = now
            if again := self._send_after(number):
                why = f"{again} after sequence {number}, the last one that the learner has"
                self._diagnostics.fault("transitions_sent_again", why)
        # this learner refuses transitions that were signed for another one
        if session != self._session:
            self._session = session
            self.advanced = now
            self._send_after(number)

    def _send_after(self, number: int) -> int:
        """Publish up to `RESENT` kept transitions again.

        Args:
            number: Sequence number after which they begin.

        Returns:
            How many were published.

        Raises:
            LedgerError: The log cannot be read.
        """
        kept = self._ledger.after(number, RESENT)
        for each, content in kept:
            # the transition may have been acknowledged since it was read
            self._send(content, min(self.acknowledged + 1, each))
        return len(kept)

    def _send(self, content: bytes, oldest: int) -> None:
        """Publish a transition, signed where there is a key.

        With a key, nothing is published before the session of a learner is known.

        Args:
            content: The packed transition.
            oldest: Sequence number of the oldest transition that is still kept. The learner does
                not wait for older ones.
        """
        if not self._signer.has_key:
            self._publisher.publish(self._codec.serialize(content, oldest))
        elif self._session:  # otherwise it is sent when a learner's session is known
            self._publisher.publish(
                self._signer.sign(self._codec.wrap(content, oldest), self._session)
            )

    def _hand_over(self) -> None:
        """Wait until the work is done and the learner has acknowledged every transition. The next
        acknowledgement sends it what it lacks.

        Gives up with a warning after `HAND_OVER_S` (in a hurry `HURRIED_HAND_OVER_S`), or if no
        acknowledgement has come for `RESEND_S`.
        """
        self.advanced = 0.0
        began = time.monotonic()
        while not self._work.empty() or self.lacking:
            now = time.monotonic()
            most_s = HURRIED_HAND_OVER_S if ENDING.is_hurried else HAND_OVER_S
            if now - began > most_s or now - self.heard > RESEND_S:
                why = f"no learner has the last {self.lacking} of {self.made} transitions"
                self._node.get_logger().warning(why)
                return
            time.sleep(0.02)
