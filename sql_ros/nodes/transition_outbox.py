"""Transitions on their way to a learner: numbered, kept until acknowledged, sent again where
they are missing.
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
from sql_ros.robot.control.episode_actor import Step
from sql_ros.robot.control.realtime import step_back

RESEND_S = 2.0  # without an acknowledgement, after which transitions are sent again
RESENT = 1000  # most transitions that are sent again at once
# transitions kept for a learner, on disk when there are many; of more the oldest are given up
MOST_KEPT = 1_000_000
# longest wait at the end of an actor until a learner has everything
HAND_OVER_S = 4.0
HURRIED_HAND_OVER_S = 1.0  # the same where the process must end soon


class TransitionOutbox:
    """Publishes transitions in a thread of its own; keeps those that no learner has acknowledged.

    Args:
        node: Owner of topic and thread.
        codec: Converts the transitions.
        signer: Signs them.
        diagnostics: Counts failures.
        actor_id: Number of the arm among several.
        run: Number of this process.
        ledger: Log in which they are kept.

    Attributes:
        made: Number of the last transition.
        acknowledged: Number up to which a learner has the transitions, or they were given up.
        heard: When the learner was last heard, steady time [s].
        advanced: When the learner last acknowledged more, steady time [s].
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
        """Forget the learner that was there before an activation."""
        self._work = queue.SimpleQueue()
        self.heard = self.advanced = time.monotonic()

    def start(self) -> None:
        """Start the thread."""
        self._thread = NodeThread(self._node, self._deliver, "delivery")
        self._thread.start()

    def finish(self) -> None:
        """Give a learner the time to acknowledge everything, then end the thread."""
        self._hand_over()
        self._work.put(None)
        if self._thread is not None:
            self._thread.join()

    def put(self, work: Callable[[], None]) -> None:
        """Run a function in the thread."""
        self._work.put(work)

    def acknowledge(self, number: int, session: int) -> None:
        """Take an acknowledgement, in the thread, if that runs.

        Args:
            number: Number up to which the learner has everything.
            session: Session of the learner.
        """
        if self._thread is not None and self._thread.is_alive():
            self._work.put(partial(self._take_acknowledgement, number, session))

    def publish(self, step: Step, transition: Transition) -> None:
        """Send a transition, and keep it until a learner has acknowledged it.

        It is kept in memory, if it cannot be written to disk.

        Args:
            step: Control step that completed it.
            transition: The transition. One with a value that is too large is dropped and counted.
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
        except MessageError as error:  # without a number, so that no learner waits for it
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
        """Delete the oldest transitions, if more than `MOST_KEPT` are not acknowledged; count
        a fault.
        """
        given_up = self.made - MOST_KEPT
        if given_up > self.acknowledged:
            self.acknowledged = given_up
            self._ledger.forget_until(given_up)
            why = f"no learner has acknowledged, and only {MOST_KEPT} are kept"
            self._diagnostics.fault("transitions_given_up", why)

    def _deliver(self) -> None:
        """Body of the thread: run the functions of `put` until `finish`.

        A learner that joins late is sent thousands of transitions, for which publishing waits.
        """
        step_back()
        while (work := self._work.get()) is not None:
            work()

    def _take_acknowledgement(self, number: int, session: int) -> None:
        """Apply an acknowledgement; if the log cannot be read, count that and wait for the
        next one.
        """
        try:
            self._apply_acknowledgement(number, session)
        except LedgerError as error:
            self._diagnostics.fault(
                "ledger_failed", f"{error}; tried again at the next acknowledgement"
            )

    def _apply_acknowledgement(self, number: int, session: int) -> None:
        """Delete the transitions that the learner has; send others again if it does not advance.

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
        """Send up to `RESENT` kept transitions after a number; return how many.

        Raises:
            LedgerError: The log cannot be read.
        """
        kept = self._ledger.after(number, RESENT)
        for each, content in kept:
            self._send(content, min(self.acknowledged + 1, each))  # it may be acknowledged by now
        return len(kept)

    def _send(self, content: bytes, oldest: int) -> None:
        """Publish a transition, signed where there is a key.

        With a key, nothing is published before the session of a learner is known.

        Args:
            content: The packed transition.
            oldest: Number of the first transition that can still be sent.
        """
        if not self._signer.has_key:
            self._publisher.publish(self._codec.serialize(content, oldest))
        elif self._session:  # otherwise it is sent when a learner's session is known
            self._publisher.publish(
                self._signer.sign(self._codec.wrap(content, oldest), self._session)
            )

    def _hand_over(self) -> None:
        """Wait until the learner has acknowledged everything; send it what it lacks.

        Gives up after `HAND_OVER_S`, or if no learner is heard.
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
