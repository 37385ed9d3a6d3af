"""The node of perturbation trials: an actor node with a `TrialRunner` (`trials/trial_runner.py`).

It never imports torch. It has the safety of the actor: the same filter, watchdogs, stop and enable.
It never trains. In simulation it publishes `disturb` (remapped to `sim_bridge/disturb`). With
`by_hand` it asks an operator on `~/prompt` instead, and recognises the push by itself. Each
completed trial is a line of `csv`, written at once. The process ends with the session.

==============  ==========  ==================================================
`~/skip`        Trigger     drop the trial under way and begin the next one
`~/repeat`      Trigger     drop the trial under way and begin it again
`~/abort`       Trigger     end the session; the measured trials are kept
`~/confirm`     Trigger     the operator did as `~/prompt` says, see `trials/person.py`
==============  ==========  ==================================================
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import Trigger

from sql_ros.common.config import fixed, option
from sql_ros.common.errors import ConfigError
from sql_ros.nodes.actor_config import ActorConfig
from sql_ros.nodes.actor_node import ActorNode
from sql_ros.nodes.actor_setup import check_policy_speed, policy_period_s
from sql_ros.nodes.control_loop import STEP_S
from sql_ros.nodes.diagnostics import Status
from sql_ros.nodes.messages import disturbance_to_msg
from sql_ros.nodes.process import run_node
from sql_ros.nodes.qos import LATCHED, RELIABLE
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.control.step import Step
from sql_ros.robot.policy_file import read_policy
from sql_ros.trials.disturbance import ENDINGS, Disturbance
from sql_ros.trials.protocol import load_protocol
from sql_ros.trials.session import Session
from sql_ros.trials.table import append_rows, describe
from sql_ros.trials.trial_runner import TrialRunner


@dataclass(frozen=True)
class TrialsConfig(ActorConfig):
    """Parameters of the trials, and those of the actor that hold in trials, which never train."""

    mode: str = fixed("play")
    temperature: float = fixed(0.0)
    weights: str = fixed("")
    targets: str = fixed("drawn")
    explores: bool = fixed(False)
    most_transitions: int = fixed(0)
    actor_id: int = fixed(0)
    learner_patience_s: float = fixed(0.0)
    protocol: str = option("standard", "name of a file in config/trials/, or a path")
    repeats: int = option(0, "trials per kind and size; 0: as the protocol says", minimum=0)
    by_hand: bool = option(
        False,
        "an operator pushes the arm, a real or a simulated one; only disturbances that are possible"
        " by hand are tried",
    )
    csv: str = option(
        "trials.csv", "file with a line per trial; lines are added to an existing file"
    )


class TrialsNode(ActorNode):
    """The managed node that connects a `TrialRunner` to topics and services.

    Attributes:
        settings: Parameters of the node.
        runner: Runs the trials, from `configure` on.
    """

    runner: TrialRunner
    takes_policies = False  # all trials are of the policy file of the parameters
    takes_goals = False  # a trial has its own goal
    where = "actor"  # the topics and services that stop the arm have the same names as the actor's

    def __init__(self) -> None:
        super().__init__("trials", TrialsConfig)
        self.settings: TrialsConfig = self.configs[0]

    def configure(self) -> None:
        """Configure as the actor does; create the topics and services of the session.

        `disturb` and `~/prompt` are published; the services are `~/skip`, `~/repeat`, `~/abort` and
        `~/confirm`.

        Raises:
            ConfigError: A parameter, the task, the policy or the protocol cannot be used.
        """
        super().configure()
        self._disturb = self.create_publisher(Float64MultiArray, "disturb", RELIABLE)
        self._prompts = self.create_publisher(String, "~/prompt", LATCHED)
        self._prompted = ""  # the last prompt that was published
        self._written = 0  # rows that were written to the csv file
        self._unheard = 0  # trials skipped because no simulation subscribes to disturbances
        for name, work in (
            ("skip", self.runner.skip),
            ("repeat", self.runner.repeat),
            ("abort", self.runner.abort),
        ):
            self.create_service(Trigger, f"~/{name}", self._answer_with(work))
        self.serving.serve(Trigger, "~/confirm", self._begin_confirm)

    def make_actor(self) -> Actor:
        """Make a `TrialRunner` with policy and protocol of the parameters, and return its actor.

        Raises:
            ConfigError: The parameter `policy` is empty, or policy or protocol cannot be used.
        """
        settings = self.settings
        if not settings.policy:
            raise ConfigError("parameter 'policy' is empty: trials need an ONNX file to try")
        policy = read_policy(settings.policy, self.task)
        period_s = policy_period_s(self, settings, self.task)
        check_policy_speed(policy, settings.policy, period_s)
        protocol = load_protocol(settings.protocol, self.task, settings.repeats)
        mapper = self.make_mapper()
        session = Session(
            self.task, mapper, protocol, settings.seed, policy.info.sha256, by_hand=settings.by_hand
        )
        self.runner = TrialRunner(
            self.task, policy, session, by_hand=settings.by_hand, mapper=mapper
        )
        return self.runner.actor

    def stepped(self) -> None:
        """Publish and print what is new after a control step; set `finished` after the last trial.

        A pending disturbance is published. If no simulation subscribes to disturbances, its trial
        is skipped and counted instead. The prompt is published when it has changed, and printed
        unless it is empty. After the last trial, lines with the numbers of trials left out are
        printed, if there are any.
        """
        if self.runner.pending_disturbance is not None:
            self._publish_disturbance(self.runner.pending_disturbance)
        if self.runner.prompt != self._prompted:
            self._prompted = self.runner.prompt
            self._prompts.publish(String(data=self._prompted))
            if self._prompted:
                _say(f">>> {self._prompted}")
        if (
            self.runner.session.trial is None
            and self.runner.pending_disturbance is None
            and not self.finished.is_set()
        ):
            if self.runner.unreachable:
                _say(
                    f"{self.runner.unreachable} trials left out: the arm could not get to their"
                    " start pose"
                )
            if self._unheard:
                _say(
                    f"{self._unheard} trials left out: no simulation takes"
                    f" {self._disturb.topic_name}"
                )
            self.finished.set()

    def _publish_disturbance(self, disturbance: Disturbance) -> None:
        """Publish a disturbance for the simulation. If no simulation subscribes, skip the trial and
        count it: its row would report a disturbance that did not happen.

        Args:
            disturbance: The disturbance. One that ends another is published in any case.
        """
        if disturbance.kind in ENDINGS or self._disturb.get_subscription_count():
            self._disturb.publish(disturbance_to_msg(disturbance))
            return
        self._unheard += 1
        self.runner.skip()

    def deliver(self, step: Step) -> None:
        """Publish the results of a step as the actor does; write the rows of completed trials."""
        super().deliver(step)
        self._write_rows()

    def deactivate(self) -> None:
        """Deactivate as the actor does; drop the trial under way, which the next activation starts
        again, and write the rows of completed trials.
        """
        is_free = self._lock.acquire(timeout=STEP_S)  # a step that hangs must not delay the end
        self.runner.repeat()
        if is_free:
            self._lock.release()
        super().deactivate()
        self._write_rows()

    def _write_rows(self) -> None:
        """Append the rows that are not written yet to the csv file, and print them."""
        session = self.runner.session
        for row in session.rows[self._written :]:
            append_rows(Path(self.settings.csv), [row])
            self._written += 1
            _say(f"{self._written:4d} of {session.most_trials} at most: {describe(row)}")

    def report(self) -> Status:
        """Return level, message and values of the actor for /diagnostics, with the current trial
        added to the message, and counts of trials to the values.
        """
        level, message, values = super().report()
        session = self.runner.session
        under_way = f"{session.trial.kind} {session.trial.size:g}" if session.trial else "over"
        made = {
            "trials": len(session.rows),
            "trials_unreachable": self.runner.unreachable,
            "trials_unheard": self._unheard,
            "trials_at_most": session.most_trials,
            "successes": sum(row.success for row in session.rows),
        }
        return level, f"{message}; trial: {under_way}", {**values, **made}

    def _begin_confirm(self) -> Callable[[], Trigger.Response | None]:
        """Serve `~/confirm`: the operator has done as the prompt says.

        Returns:
            A function that gives the confirmation to the actor and returns the response. It returns
            None, and does nothing, while a control step is being made.
        """
        source_ns = self.serving.source_ns

        def answer() -> Trigger.Response | None:
            """Confirm, unless a control step is being made; return the response or None. A request
            that is too old for a real arm is refused.
            """
            if not self._lock.acquire(blocking=False):
                return None
            try:
                stale = self._guard.staleness(source_ns)
                if stale:
                    return Trigger.Response(success=False, message=stale)
                success, message = self.runner.confirm(time.monotonic())
            finally:
                self._lock.release()
            return Trigger.Response(success=success, message=message)

        return answer

    def _answer_with(
        self, work: Callable[[], None]
    ) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
        """Return the callback of a service that changes the session.

        The response names the trial that is next.

        Args:
            work: Function that changes the session. It is called between two control steps.
        """

        def answer(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            """Change the session; respond with the trial that is next. A control loop that hangs
            is a failure, and nothing is changed.
            """
            if not self._lock.acquire(timeout=STEP_S):
                response.success = False
                response.message = "the control loop hangs: nothing was changed"
                return response
            try:
                work()
            finally:
                self._lock.release()
            trial = self.runner.session.trial
            response.success = True
            response.message = (
                f"next: {trial.kind} {trial.size:g}, number {trial.repeat + 1}"
                if trial
                else "the session is over"
            )
            return response

        return answer


def _say(text: str) -> None:
    """Print a line on stdout; it is lost if nothing reads stdout any more (`common/output.py`)."""
    print(text, flush=True)


def main() -> int:
    """Run the executable `trials`, see `run_node`.

    Returns:
        The exit code: 0; `CONFIG_EXIT_CODE` after an error that is printed in one line.
    """
    return run_node(TrialsNode)


if __name__ == "__main__":
    sys.exit(main())
