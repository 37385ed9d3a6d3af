"""The monitor node: watch a run, evaluate its policies in simulation, show progress, end the run
and write its report.

The monitor never commands the arm. Its process ends when the task is learned (mode train), after
`most_transitions`, or by a signal. The stack then ends, too.
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

LAST_EVALUATION_S = 15.0  # longest evaluation at the end of a run without a complete one
STACK_NODES = ("actor", "learner", "sim_bridge", "monitor")  # nodes whose faults are shown
LEAST_EPISODES = 20  # least number of episodes of an evaluation


class MonitorNode(LiveParameters, Node):
    """The node that connects progress, evaluation, view and report (`runs/`) to topics.

    Attributes:
        config: Parameters of the node.
        task: Task of the run.
        progress: Progress of the run, as heard so far.
        finished: Set when the run has ended.
        failure: Error because of which the process must end; None: there is none.
    """

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
        # steady time [s] and number of updates of the last progress reports
        self._update_counts: deque[tuple[float, int]] = deque(maxlen=20)
        self._policy_arrived = threading.Event()
        self.create_subscription(Float64MultiArray, "actor/episodes", self._on_episode, REPLAY)
        self.create_subscription(UInt64MultiArray, "learner/progress", self._on_progress, RELIABLE)
        self.create_subscription(UInt8MultiArray, "policy", self._on_policy, LATCHED)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._presence = Presence(self, self.config.session, self._diagnostics, self._yield_place)
        reports = self.resolve_topic_name("learner/progress")
        self._learner = LearnerBarrier(self.config.session, reports, trains=False)
        self._has_place = False  # no other monitor has this node name
        self._threads = [
            NodeThread(self, self._evaluate_policies, "evaluation"),
            NodeThread(self, self._show_progress, "view"),
        ]

    def start(self) -> None:
        """Claim the node name, and start the threads of evaluation and view.

        Raises:
            ConfigError: Another process has this node name.
        """
        self._presence.start()
        self._presence.claim()
        self._has_place = True
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the run, join the threads and write the report.

        No report is written without a run folder, and if neither a transition nor an episode was
        received, because the folder may be that of an earlier run; a line is then printed. If a
        file cannot be written, a fault is published and `failure` is set. If the node name was
        never claimed, only the claim is withdrawn.
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
        """End the process without a report and with an error (`failure`), because an older monitor
        has this node name.

        Args:
            why: The conflict, in words.
        """
        self._recorder.run_dir = None
        self.failure = ConfigError(why)
        self._end("Another monitor watches the run.")

    def bad_input(self, text: str) -> None:
        """Count a fault for received bytes that are no message, described by a text."""
        self._diagnostics.fault("input_malformed", text)

    def on_ctrl_z(self) -> None:
        """Log that Ctrl-Z does not suspend a node."""
        self.get_logger().warning(NOT_SUSPENDED)

    def _end(self, reason: str) -> None:
        """End the run: set `finished`, after which messages no longer count for the report.

        Args:
            reason: Sentence for the report. Only that of the first call is used.
        """
        if not self.finished.is_set():
            self._ending = reason
            self.progress.ended = time.monotonic()
            self.finished.set()

    # --- callbacks: decode and store ---

    def _on_episode(self, message: Float64MultiArray) -> None:
        """Add an episode to the progress, and write it to the metrics file, with robot minutes,
        updates and metrics of the learner. A malformed message is counted and dropped.

        Steps of the arm after the end of the run are counted apart, for the next session.

        Args:
            message: Summary of the episode.
        """
        try:
            episode = episode_from_msg(message)
        except MessageError as error:
            self._diagnostics.fault("episode_dropped", str(error))
            return
        p = self.progress
        # the arm moves on while the report is written
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
        values = {**vars(episode), "outcome": episode.outcome, **robot}
        self._recorder.record("episode", **values, **_parse_numbers(p.training))

    def _on_progress(self, message: UInt64MultiArray) -> None:
        """Take a progress report of the learner; end the run after `most_transitions`.

        In mode train, the first report with transitions points runs/latest to this run. A policy
        that arrived before the first report of its learner is checked now. A report that is
        malformed or of another session is counted and dropped.

        Args:
            message: The report.
        """
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
        """Check a policy, and give it to the evaluation thread.

        A refused policy is counted. One of a learner without a progress report so far waits for it.

        Args:
            message: The policy.
        """
        try:
            if not self._followed.verify_policy(message):
                return
            self._newest = Policy(policy_from_msg(message), self.task.spec)
        except (MessageError, PolicyError) as error:
            self._diagnostics.fault("policy_refused", str(error))
            return
        self._policy_arrived.set()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """Store in `progress` the values and the message of the actor, the values of the learner,
        and the fault counts of all nodes of this stack. Statuses of other namespaces are ignored.

        Args:
            message: Statuses of one or more nodes.
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
        """Body of the evaluation thread until the end of the run. In mode play it does nothing.

        The newest policy is evaluated if its version is `evaluation_period` above that of the last
        evaluation; and, once the actor succeeds in half of its recent episodes, in any case.
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
        """Evaluate a policy in simulation; add the result to the progress and to the metrics file.

        The policy is kept as the best if its evaluation is complete and its success rate is at
        least the best so far; then the run may end (`_end_on_success`). A policy that fails is
        counted as a fault, and has no result.

        Args:
            policy: The policy.
        """
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
        """Return whether the evaluation of a policy goes on; show its state in the view.

        The first `LEAST_EPISODES` episodes are always played, the others while the success
        threshold can still be reached. The end of the run ends the evaluation.

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
        """End the run if `stops_on_success` is true and the success rate reaches the threshold.

        Args:
            policy: Evaluated policy.
            result: Result of its complete evaluation.
        """
        if result.success_rate >= self.config.success_threshold and self.config.stops_on_success:
            threshold = f"{100 * self.config.success_threshold:g} %"
            scope = " in simulation" if self.config.real_arm else ""
            passed = (
                f"policy version {policy.info.version} passed the threshold of {threshold}{scope}"
            )
            self._end(f"The run ended by itself: {passed}.")

    def _report(self) -> Status:
        """Return level, message and values for /diagnostics.

        The level is WARN until the diagnostics of the actor have arrived, then OK.
        """
        values = {
            "evaluations": len(self.progress.evaluations),
            "recent_success": f"{self.progress.recent_success:.3f}",
        }
        if not self.progress.control:
            return WARN, "waiting for the actor's diagnostics", values
        return OK, "watching", values

    # --- view and report ---

    def _show_progress(self) -> None:
        """Body of the view thread: show the progress twice a second until the run ends."""
        view = View(
            f"{self.task.spec.task}, {self.config.mode}: Ctrl-C stops it and writes the report"
        )
        while not self.finished.wait(0.5):
            view.show(self.progress)
        view.show(self.progress)
        view.close()

    def _conclude(self) -> None:
        """Write policy and report into the run folder, and print the result.

        The report is about the best policy. If no evaluation is complete, the newest policy is
        evaluated now, for `LAST_EVALUATION_S` at most; but not if the process must end soon, nor in
        mode play on a real arm, where the episodes of the arm are the result.

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
    """Return those values of the learner's diagnostics that are written to the metrics file.

    Args:
        values: Values of the learner on /diagnostics, key to text.

    Returns:
        Key to number; values that are missing or no finite number are left out.
    """
    wanted = ("q_loss", "value_mean", "target_mean", "temperature", "updates_per_transition")
    return {
        name: number
        for name in wanted
        if name in values and (number := _parse_number(values[name])) is not None
    }


def _parse_number(text: str) -> float | None:
    """Return a value on /diagnostics as a number; None if the text is not a finite number."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def main() -> int:
    """Run the executable `monitor`, see `run_node`.

    Returns:
        The exit code: 0; `CONFIG_EXIT_CODE` after an error that is printed in one line.
    """
    return run_node(MonitorNode)


if __name__ == "__main__":
    sys.exit(main())
