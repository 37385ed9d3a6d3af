"""The learner node: transitions come in, policies go out.

Steps 4, 5 and 6 of the path of a transition (CONTRIBUTING.md): a transition enters the buffer,
`learning/trainer.py` makes gradient steps, a policy is published. One thread owns the buffer and
the networks.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import torch
from std_msgs.msg import Float64MultiArray, UInt8MultiArray, UInt64MultiArray

from sql_ros.common.allocator import keep_freed_memory
from sql_ros.common.errors import (
    CheckpointError,
    ConfigError,
    LedgerError,
    MessageError,
    SignatureError,
)
from sql_ros.common.run_folder import LEDGER, SESSION, traces
from sql_ros.common.transition_log import Ledger
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.learning.checkpoint_manifest import checkpoints, step_of
from sql_ros.learning.resources import check_memory, memory_available
from sql_ros.learning.resume import check_resume
from sql_ros.learning.trainer import Trainer
from sql_ros.nodes.diagnostics import ERROR, OK, WARN, Status
from sql_ros.nodes.learner_config import LearnerConfig
from sql_ros.nodes.managed import ManagedNode
from sql_ros.nodes.message_signing import MessageSigner, new_session
from sql_ros.nodes.messages import (
    Progress,
    ReplayEntry,
    TransitionCodec,
    policy_to_msg,
    progress_to_msg,
)
from sql_ros.nodes.process import NodeThread, run_node
from sql_ros.nodes.qos import LATCHED, RELIABLE, REPLAY
from sql_ros.policy.task_spec import TaskSpec
from sql_ros.robot.tasks import load_task

PROGRESS_PERIOD_S = 0.5
# largest number of actor processes in a progress report: those heard last
MOST_ACTORS = 64


class LearnerNode(ManagedNode):
    """The managed node that connects a `learning.trainer.Trainer` to topics.

    Attributes:
        lockstep: Whether each transition is trained on before the next one is added.
        trainer: Buffer, networks and algorithm; set by `configure`.
    """

    def __init__(self) -> None:
        super().__init__(
            "learner",
            "training",
            {"": LearnerConfig, "trainer": TrainerConfig, "algorithm": AlgorithmConfig},
        )
        self.config: LearnerConfig = self.configs[0]
        self.lockstep = self.config.realtime_factor == 0.0
        self._folder = Path(self.config.run_dir) / "checkpoints" if self.config.run_dir else None
        self._ledger: Ledger | None = None  # log of the transitions that are in no checkpoint yet
        # the run folder has the run of this process, which another `configure` resumes
        self._has_run = False
        self._inbox: deque[ReplayEntry] = deque()
        self._changed = threading.Condition()

    def configure(self) -> None:
        """Build buffer and networks, resume an earlier run where asked, and create the topics.

        `policy` and `~/progress` are published, `replay` is subscribed. The number of threads of
        torch is set.

        Raises:
            ConfigError: A parameter, the task, the memory or the run folder cannot be used.
            LedgerError: The transition log cannot be read, or is in use by another process.
            CheckpointError: The newest checkpoint cannot be loaded.
        """
        task = load_task(self.config.task)
        resumes = self._check_start(task.spec)
        torch.set_num_threads(self.config.threads)
        keep_freed_memory()
        self.trainer = Trainer(task.spec, self.configs[1], self.configs[2], self.config.seed)
        # run number of an actor process to the last sequence number that was added of it
        self._last_sequences: dict[int, int] = {}
        self._codec = TransitionCodec(task.spec)
        self._signer = MessageSigner(self.config.key_file)
        self._session = new_session()
        self._restore(resumes)
        self._acknowledged = dict(self._last_sequences)  # those of the last progress report
        self._policies = self.create_publisher(UInt8MultiArray, "policy", LATCHED)
        self._progress = self.create_publisher(UInt64MultiArray, "~/progress", RELIABLE)
        self.reading.subscribe(Float64MultiArray, "replay", self._on_replay, REPLAY)

    def activate(self) -> None:
        """Start the gradient thread."""
        self._thread = NodeThread(self, self._train, "gradients")
        self._thread.start()

    def deactivate(self) -> None:
        """End the gradient thread; add the transitions that have arrived, acknowledge them, and
        write a checkpoint.
        """
        with self._changed:
            self._changed.notify_all()
        self._thread.join()
        while self._inbox:
            self._add(self._inbox.popleft())
        self._publish_progress()
        self._save()

    def cleanup(self) -> None:
        """Release the buffer and the transition log."""
        self._inbox.clear()
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        self.__dict__.pop("trainer", None)

    def _on_replay(self, message: Float64MultiArray) -> None:
        """Put a transition into the inbox (step 4 of the path), and wake the gradient thread.

        A message with a wrong signature, a malformed one, and one that was signed for another
        learner are counted and dropped.

        Args:
            message: The transition with its numbers.
        """
        try:
            signature = self._signer.verify(message)
            entry = self._codec.from_msg(message)
        except SignatureError as error:
            self._diagnostics.fault("transition_refused", str(error))
            return
        except MessageError as error:
            self._diagnostics.fault("transition_dropped", str(error))
            return
        # sent to an earlier learner, or recorded
        if self._signer.has_key and signature.session != self._session:
            self._diagnostics.faults["transition_of_other_session"] += 1
            return
        with self._changed:
            self._inbox.append(entry)
            self._changed.notify_all()

    # --- the gradient thread ---

    def _train(self) -> None:
        """Body of the gradient thread, until `ended` is set: add transitions, make updates, publish
        policies and progress, write checkpoints.

        In lockstep one transition is added, then all its updates are made, and a policy is
        published when an actor waits. Otherwise all transitions that have arrived are added, then
        one update is made, and a policy is published every `policy_period_s`. While no update is
        due, the thread waits for a transition.
        """
        now = time.monotonic()
        next_policy = now
        next_progress = now
        next_checkpoint = now + self.config.checkpoint_period_s
        if self.trainer.learner.updates:
            self._publish_policy()  # in a resumed run the actor acts at once
        self._publish_progress()  # the run is accepted: the actor may begin
        while not self.ended.is_set():
            waited_for = self._take_transitions(block=self.trainer.updates_due <= 0)
            updated = 0
            while (
                self.trainer.updates_due > 0
                and not self.ended.is_set()
                and (self.lockstep or not updated)
            ):
                self.trainer.update()  # step 5 of the path
                updated += 1
            now = time.monotonic()
            if self.trainer.learner.updates and (
                waited_for if self.lockstep else updated and now >= next_policy
            ):
                self._publish_policy()
                next_policy = now + self.config.policy_period_s
            if waited_for or now >= next_progress:
                self._publish_progress()
                next_progress = now + PROGRESS_PERIOD_S
            if now >= next_checkpoint:
                self._save()
                next_checkpoint = time.monotonic() + self.config.checkpoint_period_s

    def _take_transitions(self, block: bool) -> bool:
        """Move transitions from the inbox into the buffer: all of them, in lockstep only one.

        Args:
            block: Whether to wait for a transition, up to `PROGRESS_PERIOD_S`, if there is none.

        Returns:
            Whether an actor in lockstep waits until one of those that were added is trained on.
        """
        if block:
            with self._changed:
                if not self._inbox and not self.ended.is_set():
                    self._changed.wait(PROGRESS_PERIOD_S)
        waited_for = False
        while self._inbox:
            entry = self._inbox.popleft()
            waited_for |= self._add(entry) and entry.is_waited_for
            if self.lockstep:
                break
        return waited_for

    def _add(self, entry: ReplayEntry) -> bool:
        """Add a transition to buffer and log, if it is the next one of its actor process.

        A repeated transition is counted and dropped. So is one whose predecessor is missing: the
        actor sends both again. Transitions that the actor has given up (`entry.oldest`) are counted
        as lost and not waited for.

        Args:
            entry: The transition with its numbers.

        Returns:
            Whether the transition was added.
        """
        last = self._last_sequences.pop(entry.run, 0)
        if entry.oldest > last + 1:
            lost = entry.oldest - last - 1
            self._diagnostics.fault(
                "transitions_lost",
                f"{lost} before sequence {entry.oldest} of actor {entry.actor}, which no longer has"
                " them",
            )
            last = entry.oldest - 1
        is_next = entry.sequence == last + 1
        self._last_sequences[entry.run] = entry.sequence if is_next else last
        if not is_next:
            self._diagnostics.faults[
                "transition_repeated" if entry.sequence <= last else "transition_early"
            ] += 1
            return False
        self.trainer.add(entry.transition)
        if self._ledger is not None:
            self._ledger.put(self.trainer.replay.added, self._codec.pack(entry))
        return True

    def _publish_policy(self) -> None:
        """Export the policy and publish it, signed if there is a key (step 6 of the path)."""
        self._policies.publish(
            self._signer.sign(policy_to_msg(self.trainer.export()), self._session)
        )

    def _publish_progress(self) -> None:
        """Write the transition log to disk, then publish a progress report.

        The report acknowledges the transitions in the buffer: the actors need not keep them any
        more. If the log cannot be written, a fault is counted and the report acknowledges no more
        than the one before.
        """
        trainer = self.trainer
        try:
            if self._ledger is not None:
                self._ledger.sync()
            self._acknowledged = dict(list(self._last_sequences.items())[-MOST_ACTORS:])
        except LedgerError as error:
            self._diagnostics.fault(
                "ledger_failed", f"{error}; no transition is acknowledged meanwhile"
            )
        counts = trainer.replay.added, trainer.learner.updates, trainer.policy_version
        progress = Progress(*counts, self._acknowledged, self.config.session)
        self._progress.publish(self._signer.sign(progress_to_msg(progress), self._session))

    # --- checkpoints ---

    def _check_start(self, spec: TaskSpec) -> bool:
        """Check memory and run folder before anything is written.

        `stack/preflight.py` makes the same checks before a stack starts; they are repeated because
        a learner may be started alone.

        Args:
            spec: Interface of the task.

        Returns:
            Whether the run in the folder is to be resumed: the parameter `resume` is true, or this
            process or this start of the stack has begun that run.

        Raises:
            ConfigError: The memory is too small for the buffer, the run cannot be resumed, or the
                folder has an earlier run and `resume` is false.
            LedgerError: The transition log cannot be read, or is in use by another process.
        """
        trainer, algorithm = self.configs[1:]
        check_memory(spec, trainer.replay_capacity, memory_available())
        if self._folder is None:
            if self.config.resume:
                raise ConfigError(
                    "parameter 'resume' is true, but 'run_dir' is empty: nothing to continue from"
                )
            return False
        folder = self._folder.parent
        if self._has_run:
            return True
        saved = bool(checkpoints(self._folder))
        used = saved or _has_transitions(folder / LEDGER)
        if used and self._is_respawned(folder / SESSION):
            return True
        if self.config.resume:
            check_resume(folder, spec, algorithm, trainer.replay_capacity)
        elif found := traces(folder):
            raise ConfigError(
                f"{folder} has an earlier run ({', '.join(found)}): give resume:=true to continue"
                " it, or another run_dir"
            )
        return self.config.resume

    def _restore(self, resumes: bool) -> None:
        """Open the transition log and write the session. To resume, load the newest checkpoint, add
        the logged transitions after it, and log how many there are.

        The transitions after a gap or a damaged record are not used, and a fault is counted.
        Without a run folder nothing is done.

        Args:
            resumes: Whether the run in the folder is resumed.

        Raises:
            ConfigError: The run folder cannot be written to.
            LedgerError: The transition log cannot be read, or is in use by another process.
            CheckpointError: The newest checkpoint cannot be loaded.
        """
        if self._folder is None:
            return
        path = self._folder.parent / LEDGER
        session = self._folder.parent / SESSION
        saved = bool(checkpoints(self._folder))
        self._ledger = self._open_ledger(path)
        self._begin_session(session)
        self._has_run = True
        later = self._ledger.after(0) if self._ledger is not None and resumes else []
        if resumes and (saved or (later[0][0] > 1 if later else self.config.resume)):
            extra = self.trainer.load(self._folder)
            sequences: Any = extra["sequences"]
            self._last_sequences = {int(run): int(sequence) for run, sequence in sequences.items()}
        for number, content in later:
            if number == self.trainer.replay.added + 1:
                try:
                    entry = self._codec.unpack(content)
                except MessageError as error:
                    self._diagnostics.fault(
                        "transitions_lost",
                        f"{path}: record {number} is damaged, the later ones are not used: {error}",
                    )
                    break
                self._last_sequences[entry.run] = entry.sequence
                self.trainer.add(entry.transition)
        if later and later[-1][0] > self.trainer.replay.added:
            text = (
                f"{path} has transitions up to {later[-1][0]}, but the one after"
                f" {self.trainer.replay.added} is missing: the later ones are not used"
            )
            self._diagnostics.fault("transitions_lost", text)
        if resumes:
            added = self.trainer.replay.added
            updates = self.trainer.learner.updates
            self.get_logger().info(
                f"resumed from {self._folder.parent}: {added} transitions, {updates} updates"
            )

    def _is_respawned(self, path: Path) -> bool:
        """Return whether the last learner of the run folder belonged to the same start of the stack
        as this one.

        The session in the file is compared with the parameter `session`; each start of a stack has
        its own. Whether the last learner has ended is not checked here.

        Args:
            path: File in which the last learner has written its session.

        Returns:
            False also without a session, as of a learner that was started by hand, and without the
            file.
        """
        return (
            bool(self.config.session) and path.is_file() and path.read_text() == self.config.session
        )

    def _begin_session(self, path: Path) -> None:
        """Write the session of this start of the stack into the run folder; create the folder.

        Args:
            path: File of the session.

        Raises:
            ConfigError: The folder cannot be written to.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.config.session)
        except OSError as error:
            raise ConfigError(f"cannot write to the run folder: {error}") from None

    def _open_ledger(self, path: Path) -> Ledger:
        """Open the transition log. Rename a damaged one, count a fault and begin a new one.

        Args:
            path: File of the log.

        Raises:
            LedgerError: The log cannot be read, or is in use by another process.
        """
        try:
            return Ledger(path)
        except LedgerError as error:
            if not error.damaged:
                raise
            aside = Ledger.set_aside(path)
            self._diagnostics.fault(
                "ledger_damaged",
                f"{error}; it was moved to {aside}, and the transitions after the last checkpoint"
                " are lost",
            )
            return Ledger(path)

    def _save(self) -> None:
        """Write a checkpoint, then delete the logged transitions that are in it.

        A failure is counted as a fault. Without a run folder or a transition nothing is done.
        """
        if self._folder is None or not self.trainer.replay.added:
            return
        try:
            self.trainer.save(
                self._folder,
                {"sequences": {str(run): last for run, last in self._last_sequences.items()}},
            )
            if self._ledger is not None:
                self._ledger.forget_until(step_of(checkpoints(self._folder)[0]))
        except (CheckpointError, LedgerError) as error:
            self._diagnostics.fault("checkpoint_failed", str(error))

    def report(self) -> Status:
        """Return level, message and values for /diagnostics while the node is active.

        The level is ERROR if a metric of the training is not a number, WARN before the first
        transition, otherwise OK, with the message "warming up" or "training".
        """
        trainer = self.trainer
        values = {
            "transitions": trainer.replay.added,
            "updates": trainer.learner.updates,
            "updates_per_transition": f"{trainer.ratio:.3f}",
            "waiting_transitions": len(self._inbox),
            "policy_version": trainer.policy_version,
            "replay_mib": f"{trainer.replay.nbytes / 2**20:.0f}",
            **{name: f"{value:.6g}" for name, value in trainer.metrics.items()},
        }
        if not all(value == value for value in trainer.metrics.values()):
            return ERROR, "a metric is not a number", values
        if not trainer.replay.added:
            return WARN, f"waiting for transitions on {self.resolve_topic_name('replay')}", values
        warm = trainer.replay.added >= trainer.config.warmup_transitions
        return (
            OK,
            (
                "training"
                if warm
                else f"warming up: {trainer.config.warmup_transitions} transitions are needed"
            ),
            values,
        )


def _has_transitions(path: Path) -> bool:
    """Return whether a transition log has transitions, from which a run may be resumed.

    A damaged log counts as having some. A run that ended before its first transition has left an
    empty log.

    Args:
        path: File of the log, which need not exist.

    Raises:
        LedgerError: The log cannot be read, or is in use by another process.
    """
    if not path.exists():
        return False
    try:
        ledger = Ledger(path)
    except LedgerError as error:
        if not error.damaged:
            raise
        return True
    try:
        return ledger.ends() != (0, 0)
    finally:
        ledger.close()


def main() -> int:
    """Run the executable `learner`, see `run_node`.

    Returns:
        The exit code: 0; `CONFIG_EXIT_CODE` after an error that is printed in one line.
    """
    return run_node(LearnerNode)


if __name__ == "__main__":
    sys.exit(main())
