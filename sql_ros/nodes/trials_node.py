"""Perturbation trials over ROS: an actor whose episodes are those of `robot/trials.py`. Never imports torch.

It is the actor in everything that matters for safety: the same filter, watchdogs, stop and enable; it only never trains. Beside the
arm's simulation it publishes `disturb` (remapped to `sim_bridge/disturb`); with `by_hand` it asks an operator on `~/prompt` instead and
recognises the push by itself. Every trial is a line of `csv`, written as soon as it is over. The process ends with the session.

==============  ==========  ==================================================
`~/skip`        Trigger     the trial under way leaves no line; the next begins
`~/repeat`      Trigger     it begins anew
`~/abort`       Trigger     the session ends; what was measured stays
==============  ==========  ==================================================
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import Trigger

from sql_ros.core.config import option
from sql_ros.core.errors import ConfigError
from sql_ros.nodes.actor_node import ActorConfig, ActorNode
from sql_ros.nodes.diagnostics import Status
from sql_ros.nodes.messages import disturbance_to_msg
from sql_ros.nodes.parameters import read_policy
from sql_ros.nodes.process import run_node
from sql_ros.nodes.qos import LATCHED, RELIABLE
from sql_ros.robot.actor import Actor, Step
from sql_ros.robot.disturbance import ENDINGS, Disturbance
from sql_ros.robot.drive import Drive
from sql_ros.robot.trials import Session, TrialActor, load_protocol
from sql_ros.runs.trial_table import append_rows, line


@dataclass(frozen=True)
class TrialsConfig(ActorConfig):
    """Parameters of the trials: those of the actor, and these."""

    mode: str = option("play", "trials never train", choices=("play",))
    temperature: float = option(0.0, "trials act deterministically", minimum=0.0, maximum=0.0)
    protocol: str = option("standard", "name of a file in config/trials/, or a path")
    repeats: int = option(0, "trials per kind and size; 0: as the protocol says", minimum=0)
    by_hand: bool = option(False, "an operator pushes, on a real arm as in simulation; only what can be done by hand is tried")
    csv: str = option("trials.csv", "a line per trial; an existing file is gone on with")


class TrialsNode(ActorNode):
    """Wires a `TrialActor`."""

    actor: TrialActor
    takes_policies = False  # every line is of the one policy of the parameters
    takes_goals = False  # trials have their own
    where = "actor"  # whoever drives the arm is stopped by the same names

    def __init__(self) -> None:
        super().__init__("trials", TrialsConfig)
        self.settings: TrialsConfig = self.configs[0]

    def configure(self) -> None:
        """As the actor, and the session. See `ManagedNode`."""
        super().configure()
        self._disturb = self.create_publisher(Float64MultiArray, "disturb", RELIABLE)
        self._prompts = self.create_publisher(String, "~/prompt", LATCHED)
        self._prompted, self._written = "", 0
        self._unheard = 0  # trials left out because nobody took what was to be done to the arm
        for name, work in (("skip", self.actor.skip), ("repeat", self.actor.repeat), ("abort", self.actor.abort)):
            self.create_service(Trigger, f"~/{name}", self._answer_with(work))

    def make_actor(self) -> Actor:
        """A `TrialActor` with the policy and the protocol of the parameters."""
        settings = self.settings
        if not settings.policy:
            raise ConfigError("parameter 'policy' is empty: trials need an ONNX file to try")
        policy = read_policy(settings.policy, self.task.spec)
        protocol = load_protocol(settings.protocol, self.task, settings.repeats)
        drive = Drive(self.task)
        session = Session(self.task, drive, protocol, settings.seed, policy.info.sha256, by_hand=settings.by_hand)
        return TrialActor(self.task, policy, session, by_hand=settings.by_hand, drive=drive)

    def stepped(self) -> None:
        """Passes on what is wished of the simulation and of the operator."""
        if self.actor.wish is not None:
            self._pass_on(self.actor.wish)
        if self.actor.prompt != self._prompted:
            self._prompted = self.actor.prompt
            self._prompts.publish(String(data=self._prompted))
            if self._prompted:
                _say(f">>> {self._prompted}")
        if self.actor.session.trial is None and self.actor.wish is None and not self.finished.is_set():
            if self.actor.unreachable:
                _say(f"{self.actor.unreachable} trials left out: the arm could not get to their start pose")
            if self._unheard:
                _say(f"{self._unheard} trials left out: no simulation takes {self._disturb.topic_name}")
            self.finished.set()

    def _pass_on(self, wish: Disturbance) -> None:
        """To the simulation; where none listens, the trial is not made: a row would tell of what never happened."""
        if wish.kind in ENDINGS or self._disturb.get_subscription_count():
            self._disturb.publish(disturbance_to_msg(wish))
            return
        self._unheard += 1
        self.actor.skip()

    def deliver(self, step: Step) -> None:
        """As the actor; keeps what was measured."""
        super().deliver(step)
        self._keep()

    def deactivate(self) -> None:
        """As the actor; the trial under way leaves no line, what was measured and not yet delivered does."""
        with self._lock:
            self.actor.repeat()
        super().deactivate()
        self._keep()

    def _keep(self) -> None:
        session = self.actor.session
        for row in session.rows[self._written :]:
            append_rows(Path(self.settings.csv), [row])
            self._written += 1
            _say(f"{self._written:4d} of {session.most_trials} at most: {line(row)}")

    def report(self) -> Status:
        """For /diagnostics, while active."""
        level, message, values = super().report()
        session = self.actor.session
        under_way = f"{session.trial.kind} {session.trial.size:g}" if session.trial else "over"
        made = {
            "trials": len(session.rows),
            "trials_unreachable": self.actor.unreachable,
            "trials_unheard": self._unheard,
            "trials_at_most": session.most_trials,
            "successes": sum(row.success for row in session.rows),
        }
        return level, f"{message}; trial: {under_way}", {**values, **made}

    def _answer_with(self, work: Callable[[], None]) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
        def answer(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            with self._lock:
                work()
            trial = self.actor.session.trial
            response.success = True
            response.message = f"next: {trial.kind} {trial.size:g}, number {trial.repeat + 1}" if trial else "the session is over"
            return response

        return answer


def _say(text: str) -> None:
    """Print a line; the trials go on where the terminal, or the process that read it, is gone."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


def main() -> int:
    """Entry point of the executable `trials`."""
    return run_node(TrialsNode)


if __name__ == "__main__":
    sys.exit(main())
