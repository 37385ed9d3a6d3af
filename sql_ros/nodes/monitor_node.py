"""The monitor: watches a run, evaluates its policies in a simulation of its own, shows progress,
ends the run, writes the report.

It never commands the arm. It ends when the task is learned (train) or when it is told to. The stack
ends with it.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray, UInt8MultiArray, UInt64MultiArray

from sql_ros.common.errors import ConfigError, MessageError, PolicyError, SqlRosError
from sql_ros.nodes.barrier import LearnerBarrier
from sql_ros.nodes.diagnostics import OK, WARN, Diagnostics, Status
from sql_ros.nodes.ending import ENDING, NOT_SUSPENDED
from sql_ros.nodes.message_signing import FollowedLearner, MessageSigner
from sql_ros.nodes.messages import episode_from_msg, policy_from_msg, progress_from_msg
from sql_ros.nodes.monitor_config import EVALUATION_SEED, MonitorConfig
from sql_ros.nodes.parameters import LiveParameters, declare_configs
from sql_ros.nodes.presence import Presence
from sql_ros.nodes.process import NodeThread, run_node
from sql_ros.nodes.qos import LATCHED, RELIABLE, REPLAY
from sql_ros.nodes.run_recorder import RunRecorder, print_line
from sql_ros.policy.runtime import Policy
from sql_ros.robot.policy_file import read_policy
from sql_ros.robot.tasks import load_task
from sql_ros.runs.evaluation import Evaluation, Evaluator
from sql_ros.runs.progress import RunProgress
from sql_ros.runs.view import View

LAST_EVALUATION_S = 15.0  # at most, when a run is stopped before a full evaluation
STACK_NODES = ("actor", "learner", "sim_bridge", "monitor")  # nodes whose faults are shown
LEAST_EPISODES = 20  # episodes that every evaluated policy plays


class MonitorNode(LiveParameters, Node):
    """Connects the rooms of `runs/` to topics."""

    def __init__(self) -> None:
        super().__init__("monitor", automatically_declare_parameters_from_overrides=True)
        (self.config,) = declare_configs(self, {"": MonitorConfig})
        self.accept_changes()
        self.task = load_task(self.config.task)
        self._followed = FollowedLearner(MessageSigner(self.config.key_file))
        self.finished = threading.Event()
        self.failure: Exception | None = None
        self.progress = RunProgress(self.task.config.control_rate_hz, self.config.real_arm)
        self._newest = read_policy(self.config.policy, self.task) if self.config.policy else None
        self._diagnostics = Diagnostics(self, "evaluation", self._report)
        run_dir = Path(self.config.run_dir) if self.config.run_dir else None
        self._recorder = RunRecorder(run_dir, self.progress, self._diagnostics)
        self._evaluator = Evaluator(self.task, EVALUATION_SEED)
        self._best: tuple[Policy, Evaluation] | None = None
        self._ending = ""
        self._update_counts: deque[tuple[float, int]] = deque(maxlen=20)  # steady time, updates
        self._policy_arrived = threading.Event()
        self.create_subscription(Float64MultiArray, "actor/episodes", self._on_episode, REPLAY)
        self.create_subscription(UInt64MultiArray, "learner/progress", self._on_progress, RELIABLE)
        self.create_subscription(UInt8MultiArray, "policy", self._on_policy, LATCHED)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._presence = Presence(self, self.config.session, self._diagnostics, self._yield_place)
        reports = self.resolve_topic_name("learner/progress")
        self._learner = LearnerBarrier(self.config.session, reports, trains=False)
        self._has_place = False  # another monitor has not this place
        self._threads = [
            NodeThread(self, self._evaluate_policies, "evaluation"),
            NodeThread(self, self._show_progress, "view"),
        ]

    def start(self) -> None:
        """Start to evaluate and to show, unless another monitor does.

        Raises:
            ConfigError: Another process has this place.
        """
        self._presence.start()
        self._presence.claim()
        self._has_place = True
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Join the threads and write the report.

        No report is written where there was no run, because the folder may be that of an earlier
        one.
        """
        self._presence.stop()
        if not self._has_place:
            return
        self._end("The run was stopped.")
        self._policy_arrived.set()
        for thread in self._threads:
            thread.join()
        run_dir = self._recorder.run_dir
        if run_dir is None:
            return
        if not self.progress.transitions and not self.progress.episodes:
            print_line(
                "Neither a transition nor a complete episode was received: no report is written to"
                f" {run_dir}"
            )
            return
        try:
            self._conclude()
        except OSError as error:
            self._diagnostics.faults["report_failed"] += 1
            self._diagnostics.publish_last()
            self.failure = self.failure or SqlRosError(
                f"the report in {run_dir} is incomplete: {error}"
            )

    def _yield_place(self, why: str) -> None:
        """End without a report, because the run is that of another monitor.

        Args:
            why: The reason, for the error.
        """
        self._recorder.run_dir = None
        self.failure = ConfigError(why)
        self._end("Another monitor watches the run.")

    def bad_input(self, text: str) -> None:
        """See `process.Runnable`."""
        self._diagnostics.fault("input_malformed", text)

    def suspend(self) -> None:
        """See `process.Runnable`."""
        self.get_logger().warning(NOT_SUSPENDED)

    def _end(self, reason: str) -> None:
        """End the run. The first reason counts, and later messages do not."""
        if not self.finished.is_set():
            self._ending = reason
            self.progress.ended = time.monotonic()
            self.finished.set()

    # --- callbacks: decode and store ---

    def _on_episode(self, message: Float64MultiArray) -> None:
        """Take the summary of an episode, and write it to the metrics.

        Steps of the arm after the end of the run are counted apart. The next session counts them.
        """
        try:
            episode = episode_from_msg(message)
        except MessageError as error:
            self._diagnostics.fault("episode_dropped", str(error))
            return
        p = self.progress
        # the arm moves while the report is written; the next session counts these steps
        if self.finished.is_set():
            p.later_steps += episode.robot_steps
        else:
            p.add(episode)
        minutes = round(p.minutes(p.robot_steps + p.later_steps), 4)
        robot = {
            "robot_minutes": minutes,
            "updates": p.updates,
            "updates_per_s": round(p.updates_per_s, 1),
        }
        self._recorder.record("episode", **{**vars(episode), **robot}, **_parse_numbers(p.training))

    def _on_progress(self, message: UInt64MultiArray) -> None:
        """Take the progress of the learner; end the run after `most_transitions`."""
        try:
            self._followed.verify_progress(message)
            news = progress_from_msg(message)
        except MessageError as error:
            self._diagnostics.fault("progress_refused", str(error))
            return
        if complaint := self._learner.complaint(news):
            self._diagnostics.fault("progress_foreign", complaint)
            return
        held = self._followed.take_waiting_policy()
        if held is not None:
            self._on_policy(held)
        if self.finished.is_set():
            return
        p = self.progress
        if p.first_updates is None:
            p.first_updates = news.updates
        if self.config.mode == "train" and news.transitions and not p.transitions:
            self._recorder.point_latest()
        p.transitions = news.transitions
        p.updates = news.updates
        p.policy_version = news.policy_version
        self._update_counts.append((time.monotonic(), p.updates))
        (then, before) = self._update_counts[0]
        (now, after) = self._update_counts[-1]
        p.updates_per_s = (after - before) / (now - then) if now > then else 0.0
        if self.config.most_transitions and p.transitions >= self.config.most_transitions:
            self._end(
                f"The run ended after {p.transitions} transitions, the limit of most_transitions."
            )

    def _on_policy(self, message: UInt8MultiArray) -> None:
        """Take a policy; count one that is refused."""
        try:
            if not self._followed.verify_policy(message):
                return
            self._newest = Policy(policy_from_msg(message), self.task.spec)
        except (MessageError, PolicyError) as error:
            self._diagnostics.fault("policy_refused", str(error))
            return
        self._policy_arrived.set()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """Take the statuses of the nodes in this namespace.

        /diagnostics has those of every stack of the domain.
        """
        namespace = self.get_namespace().rstrip("/")
        for status in message.status:
            node_namespace, _, node = status.hardware_id.rpartition("/")
            if node_namespace != namespace or node not in STACK_NODES:
                continue
            values = {entry.key: entry.value for entry in status.values}
            if node == "actor":
                self.progress.control = values
                self.progress.acting = status.message
            elif node == "learner":
                self.progress.training = values
            for key, value in values.items():
                if key.startswith("fault/") and (count := _parse_number(value)):
                    self.progress.faults[f"{node} {key[6:]}"] = int(count)

    # --- evaluation ---

    def _evaluate_policies(self) -> None:
        """Body of the evaluation thread: evaluate the newest policy every `evaluation_period`
        versions, and each one once the actor succeeds in half of its episodes.
        """
        evaluated = 0
        while not self.finished.is_set():
            self._policy_arrived.wait()
            self._policy_arrived.clear()
            policy = self._newest
            if policy is None or self.config.mode != "train" or self.finished.is_set():
                continue
            if (
                policy.info.version >= evaluated + self.config.evaluation_period
                or self.progress.recent_success >= 0.5
            ):
                evaluated = policy.info.version
                self._evaluate(policy)

    def _evaluate(self, policy: Policy) -> None:
        """Evaluate a policy, write the result to the metrics, and keep it if it is the best."""
        p = self.progress
        minutes = self.progress.robot_minutes
        config = self.config  # the same for the whole evaluation, although it may be changed
        try:
            result = self._evaluator.evaluate(
                policy,
                config.evaluation_episodes,
                lambda so_far: self._continues(policy, config, so_far),
            )
        except PolicyError as error:
            self._diagnostics.fault("policy_not_evaluated", str(error))
            return
        finally:
            p.evaluating = ""
        p.evaluations.append((minutes, policy.info.updates, policy.info.version, result))
        about = {
            "policy_version": policy.info.version,
            "robot_minutes": minutes,
            "updates": policy.info.updates,
        }
        self._recorder.record("evaluation", **about, **result.figures())
        complete = len(result.successes) == config.evaluation_episodes
        if complete and (self._best is None or result.success_rate >= self._best[1].success_rate):
            self._best = (policy, result)
            self._end_on_success(policy, result)

    def _continues(self, policy: Policy, config: MonitorConfig, so_far: Evaluation) -> bool:
        """Return whether the evaluation of a policy goes on.

        The first `LEAST_EPISODES` episodes are always played. The others are played while the
        threshold can still be reached.

        Args:
            policy: The policy.
            config: Parameters of this evaluation.
            so_far: Result of the episodes played.
        """
        reached = sum(so_far.successes)
        played = len(so_far.successes)
        self.progress.evaluating = f"version {policy.info.version}: {reached} of {played} so far"
        allowed = config.evaluation_episodes * (1.0 - config.success_threshold) + 1e-9
        return not self.finished.is_set() and (
            played < LEAST_EPISODES or played - reached <= allowed
        )

    def _end_on_success(self, policy: Policy, result: Evaluation) -> None:
        """End the run if a policy reached the threshold, where `stops_on_success` is true."""
        if result.success_rate >= self.config.success_threshold and self.config.stops_on_success:
            threshold = f"{100 * self.config.success_threshold:g} %"
            scope = " in simulation" if self.config.real_arm else ""
            passed = (
                f"policy version {policy.info.version} passed the threshold of {threshold}{scope}"
            )
            self._end(f"The run ended by itself: {passed}.")

    def _report(self) -> Status:
        """Return level, message and values for /diagnostics."""
        values = {
            "evaluations": len(self.progress.evaluations),
            "recent_success": f"{self.progress.recent_success:.3f}",
        }
        if not self.progress.control:
            return WARN, "waiting for the actor's diagnostics", values
        return OK, "watching", values

    # --- view and report ---

    def _show_progress(self) -> None:
        """Body of the view thread: show the progress twice a second, until the run ends."""
        view = View(
            f"{self.task.spec.task}, {self.config.mode}: Ctrl-C stops it and writes the report"
        )
        while not self.finished.wait(0.5):
            view.show(self.progress)
        view.show(self.progress)
        view.close()

    def _conclude(self) -> None:
        """Write policy and report into the run folder, and print the result.

        The report is about the best policy. If none was evaluated in full, the newest is evaluated
        for at most `LAST_EVALUATION_S`, unless the process must end soon. A policy that played on a
        real arm has its result there, and is not evaluated.

        Raises:
            OSError: A file cannot be written.
        """
        policy, result = self._best or (self._newest, None)
        plays_for_real = self.config.real_arm and self.config.mode == "play"
        if policy is not None and result is None and not ENDING.is_hurried and not plays_for_real:
            print_line(f"evaluating policy version {policy.info.version} for the report ...")
            deadline = time.monotonic() + LAST_EVALUATION_S
            try:
                result = self._evaluator.evaluate(
                    policy,
                    self.config.evaluation_episodes,
                    lambda so_far: time.monotonic() < deadline and not ENDING.is_hurried,
                )
            except PolicyError as error:
                self._diagnostics.fault("policy_not_evaluated", str(error))
        self._recorder.write_report(self.task, self.config, policy, result, self._ending)


def _parse_numbers(values: dict[str, str]) -> dict[str, float]:
    """Return the values of the learner's diagnostics that go into the metrics."""
    wanted = ("q_loss", "value_mean", "target_mean", "temperature", "updates_per_transition")
    return {
        name: number
        for name in wanted
        if name in values and (number := _parse_number(values[name])) is not None
    }


def _parse_number(text: str) -> float | None:
    """Return a value on /diagnostics, where anybody may write anything; None if it is no
    finite number.
    """
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def main() -> int:
    """Entry point of the executable `monitor`."""
    return run_node(MonitorNode)


if __name__ == "__main__":
    sys.exit(main())
