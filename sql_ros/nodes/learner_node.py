"""The learner: transitions in, policies out. One thread owns the buffer and takes the gradients.

Hop 4, 5 and 6 of the walk: a transition enters the buffer, `core.trainer` updates, a policy is published.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from pathlib import Path

import torch
from std_msgs.msg import Float64MultiArray, UInt8MultiArray, UInt64MultiArray

from sql_ros.core.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.core.errors import CheckpointError, ConfigError, LedgerError, MessageError, SignatureError
from sql_ros.core.ledger import Ledger
from sql_ros.core.manifest import checkpoints, step_of
from sql_ros.core.memory import keep_freed_memory
from sql_ros.core.resources import check_memory, memory_available
from sql_ros.core.resume import check_resume
from sql_ros.core.run_folder import LEDGER, traces
from sql_ros.core.spec import TaskSpec
from sql_ros.core.trainer import Trainer
from sql_ros.nodes.diagnostics import ERROR, OK, WARN, Status
from sql_ros.nodes.learner_config import LearnerConfig
from sql_ros.nodes.managed import ManagedNode
from sql_ros.nodes.messages import Progress, ReplayEntry, TransitionCodec, policy_to_msg, progress_to_msg
from sql_ros.nodes.process import NodeThread, run_node
from sql_ros.nodes.qos import LATCHED, RELIABLE, REPLAY
from sql_ros.nodes.seal import Seal, new_session
from sql_ros.robot.tasks import load_task

PROGRESS_PERIOD_S = 0.5
MOST_ACTORS = 64  # actor processes whose transitions are acknowledged, those last heard of; a run may have seen more


class LearnerNode(ManagedNode):
    """Wires `core.trainer.Trainer` to topics."""

    def __init__(self) -> None:
        super().__init__("learner", "training", {"": LearnerConfig, "trainer": TrainerConfig, "algorithm": AlgorithmConfig})
        self.config: LearnerConfig = self.configs[0]
        self.lockstep = self.config.realtime_factor == 0.0
        self._folder = Path(self.config.run_dir) / "checkpoints" if self.config.run_dir else None
        self._ledger: Ledger | None = None  # transitions that are in no checkpoint yet
        self._began = False  # what is in the run folder is this process's own: configured again, it goes on from that
        self._inbox: deque[ReplayEntry] = deque()
        self._changed = threading.Condition()

    def configure(self) -> None:
        """Builds networks and buffer, or loads them; see `ManagedNode`."""
        task = load_task(self.config.task)
        resumes = self._check_start(task.spec)
        torch.set_num_threads(self.config.threads)
        keep_freed_memory()
        self.trainer = Trainer(task.spec, self.configs[1], self.configs[2], self.config.seed)
        self._last: dict[int, int] = {}  # last sequence number of every actor process
        self._codec = TransitionCodec(task.spec)
        self._seal, self._session = Seal(self.config.key_file), new_session()
        self._restore(resumes)
        self._safe = dict(self._last)  # as last acknowledged
        self._policies = self.create_publisher(UInt8MultiArray, "policy", LATCHED)
        self._progress = self.create_publisher(UInt64MultiArray, "~/progress", RELIABLE)
        self.reading.subscribe(Float64MultiArray, "replay", self._on_replay, REPLAY)

    def activate(self) -> None:
        """Starts training."""
        self._thread = NodeThread(self, self._train, "gradients")
        self._thread.start()

    def deactivate(self) -> None:
        """Ends training and writes a checkpoint, with every transition that has arrived."""
        with self._changed:
            self._changed.notify_all()
        self._thread.join()
        while self._inbox:
            self._add(self._inbox.popleft())
        self._publish_progress()
        self._save()

    def cleanup(self) -> None:
        """Lets go of the buffer, the largest thing there is."""
        self._inbox.clear()
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        self.__dict__.pop("trainer", None)

    def _on_replay(self, message: Float64MultiArray) -> None:
        """Hop 4: decodes and stores."""
        try:
            mark = self._seal.open(message)
            entry = self._codec.from_msg(message)
        except SignatureError as error:
            self._diagnostics.fault("transition_refused", str(error))
            return
        except MessageError as error:
            self._diagnostics.fault("transition_dropped", str(error))
            return
        if self._seal.is_used and mark.session != self._session:  # sent to the learner that was here before, or recorded
            self._diagnostics.faults["transition_of_other_session"] += 1
            return
        with self._changed:
            self._inbox.append(entry)
            self._changed.notify_all()

    # --- the gradient thread ---

    def _train(self) -> None:
        """In lockstep one transition, then its updates; otherwise all that arrived, then one update."""
        now = time.monotonic()
        next_policy, next_progress, next_checkpoint = now, now, now + self.config.checkpoint_period_s
        if self.trainer.learner.updates:
            self._publish_policy()  # a resumed run acts at once
        self._publish_progress()  # the run is accepted: the actor may begin
        while not self.ended.is_set():
            waited_for = self._take_transitions(block=self.trainer.updates_due <= 0)
            updated = 0
            while self.trainer.updates_due > 0 and not self.ended.is_set() and (self.lockstep or not updated):
                self.trainer.update()  # hop 5
                updated += 1
            now = time.monotonic()
            if self.trainer.learner.updates and (waited_for if self.lockstep else updated and now >= next_policy):
                self._publish_policy()
                next_policy = now + self.config.policy_period_s
            if waited_for or now >= next_progress:
                self._publish_progress()
                next_progress = now + PROGRESS_PERIOD_S
            if now >= next_checkpoint:
                self._save()
                next_checkpoint = time.monotonic() + self.config.checkpoint_period_s

    def _take_transitions(self, block: bool) -> bool:
        """Moves arrived transitions into the buffer, in lockstep one at a time; says whether an actor waits for one of them."""
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
        """Takes what is next of its actor process, and says whether this was.

        What is there already is dropped. What lacks one before it is dropped too: the actor will send both again, if it still can.
        """
        last = self._last.pop(entry.run, 0)
        if entry.oldest > last + 1:
            lost = entry.oldest - last - 1
            self._diagnostics.fault(
                "transitions_lost", f"{lost} before sequence {entry.oldest} of actor {entry.actor}, which has them no more"
            )
            last = entry.oldest - 1
        is_next = entry.sequence == last + 1
        self._last[entry.run] = entry.sequence if is_next else last
        if not is_next:
            self._diagnostics.faults["transition_repeated" if entry.sequence <= last else "transition_early"] += 1
            return False
        self.trainer.add(entry.transition)
        if self._ledger is not None:
            self._ledger.put(self.trainer.replay.added, self._codec.pack(entry))
        return True

    def _publish_policy(self) -> None:
        """Hop 6."""
        self._policies.publish(self._seal.sign(policy_to_msg(self.trainer.export()), self._session))

    def _publish_progress(self) -> None:
        """Acknowledges what is safe by now."""
        trainer = self.trainer
        try:
            if self._ledger is not None:
                self._ledger.sync()
            self._safe = dict(list(self._last.items())[-MOST_ACTORS:])
        except LedgerError as error:
            self._diagnostics.fault("ledger_failed", f"{error}; nothing is acknowledged meanwhile")
        counts = trainer.replay.added, trainer.learner.updates, trainer.policy_version
        progress = Progress(*counts, self._safe, self.config.session)
        self._progress.publish(self._seal.sign(progress_to_msg(progress), self._session))

    # --- checkpoints ---

    def _check_start(self, spec: TaskSpec) -> bool:
        """Check all that can be refused before anything is written; return whether a run is gone on with.

        The same functions check a stack before it starts (`stack/preflight.py`); a learner may be started alone.
        """
        trainer, algorithm = self.configs[1:]
        check_memory(spec, trainer.replay_capacity, memory_available())
        if self._folder is None:
            if self.config.resume:
                raise ConfigError("parameter 'resume' is true, but 'run_dir' is empty: nothing to continue from")
            return False
        folder = self._folder.parent
        if self._began:
            return True
        saved = bool(checkpoints(self._folder))
        used = saved or _has_transitions(folder / LEDGER)
        if used and self._is_respawned(folder / "session"):
            return True
        if self.config.resume:
            check_resume(folder, spec, algorithm, trainer.replay_capacity)
        elif found := traces(folder):
            raise ConfigError(f"{folder} has an earlier run ({', '.join(found)}): give resume:=true to continue it, or another run_dir")
        return self.config.resume

    def _restore(self, resumes: bool) -> None:
        """Go on from the newest checkpoint and what came after it, if a run is gone on with."""
        if self._folder is None:
            return
        path, session = self._folder.parent / LEDGER, self._folder.parent / "session"
        saved = bool(checkpoints(self._folder))
        if self.config.durable:
            self._ledger = self._open_ledger(path)
        self._begin_session(session)
        self._began = True
        later = self._ledger.after(0) if self._ledger is not None and resumes else []
        if resumes and (saved or (later[0][0] > 1 if later else self.config.resume)):
            extra = self.trainer.load(self._folder)
            self._last = {int(run): int(sequence) for run, sequence in dict(extra["sequences"]).items()}  # type: ignore[call-overload]
        for number, content in later:
            if number == self.trainer.replay.added + 1:
                try:
                    entry = self._codec.unpack(content)
                except MessageError as error:
                    self._diagnostics.fault("transitions_lost", f"{path}: record {number} is damaged, what follows is left out: {error}")
                    break
                self._last[entry.run] = entry.sequence
                self.trainer.add(entry.transition)
        if later and later[-1][0] > self.trainer.replay.added:
            text = f"{path} has transitions up to {later[-1][0]}, but the one after {self.trainer.replay.added} is missing: left out"
            self._diagnostics.fault("transitions_lost", text)
        if resumes:
            added, updates = self.trainer.replay.added, self.trainer.learner.updates
            self.get_logger().info(f"resumed from {self._folder.parent}: {added} transitions, {updates} updates")

    def _is_respawned(self, path: Path) -> bool:
        """This start of the stack has had a learner before."""
        return bool(self.config.session) and path.is_file() and path.read_text() == self.config.session

    def _begin_session(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.config.session)
        except OSError as error:
            raise ConfigError(f"cannot write to the run folder: {error}") from None

    def _open_ledger(self, path: Path) -> Ledger:
        try:
            return Ledger(path)
        except LedgerError as error:
            if not error.damaged:
                raise
            aside = Ledger.set_aside(path)
            self._diagnostics.fault("ledger_damaged", f"{error}; it is {aside} now, and what came after the last checkpoint is lost")
            return Ledger(path)

    def _save(self) -> None:
        if self._folder is None or not self.trainer.replay.added:
            return
        try:
            self.trainer.save(self._folder, {"sequences": {str(run): last for run, last in self._last.items()}})
            if self._ledger is not None:
                self._ledger.forget_until(step_of(checkpoints(self._folder)[0]))
        except (CheckpointError, LedgerError) as error:
            self._diagnostics.fault("checkpoint_failed", str(error))

    def report(self) -> Status:
        """For /diagnostics, while active."""
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
            return ERROR, "a loss is not a number", values
        if not trainer.replay.added:
            return WARN, f"waiting for transitions on {self.resolve_topic_name('replay')}", values
        warm = trainer.replay.added >= trainer.config.warmup_transitions
        return OK, "training" if warm else f"warming up: {trainer.config.warmup_transitions} transitions are needed", values


def _has_transitions(path: Path) -> bool:
    """A ledger has something to go on from; one that is damaged may have. A run that ended before its first transition leaves none.

    Raises:
        LedgerError: it cannot be read, or is in use by another process.
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
    """Entry point of the executable `learner`."""
    return run_node(LearnerNode)


if __name__ == "__main__":
    sys.exit(main())
