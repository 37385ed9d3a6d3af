"""An actor asks the rules of its episodes before it moves the arm."""

import numpy as np
import pytest

from sql_ros.policy.runtime import Policy
from sql_ros.robot.control.episode_actor import Actor, Phase
from sql_ros.robot.control.episode_rules import DrawnEpisodes
from sql_ros.runs.rollout import SimulatedArm


class Forbidding(DrawnEpisodes):
    """Rules that forbid one thing, by the name of a method of `EpisodeRules`."""

    def __init__(self, task, forbidden: str) -> None:
        super().__init__(task)
        self.calls: list[str] = []
        setattr(self, forbidden, lambda *state: False)

    def on_jump(self) -> None:
        self.calls.append("on_jump")

    def end_hold(self, state) -> None:
        self.calls.append("end_hold")

    def end_step(self, state, step) -> None:
        self.calls.append("end_step")

    def on_give_up(self) -> None:
        self.calls.append("on_give_up")


@pytest.mark.parametrize(
    ("forbidden", "call"),
    [("begin_step", "end_hold"), ("may_approach", "end_step"), ("may_begin", "end_step")],
)
def test_an_actor_holds_the_arm_while_its_rules_forbid_to_move(task, forbidden, call):
    rules = Forbidding(task, forbidden)
    actor = Actor(task, 0, rules=rules)
    arm = SimulatedArm(task)
    arm.begin(actor, actor.episode)
    before = arm.state().position
    for _ in range(20):
        arm.follow(actor)
    assert actor.phase is Phase.APPROACHING
    assert rules.calls == 20 * [call]
    np.testing.assert_allclose(arm.state().position, before, atol=1e-3)


def test_rules_hear_of_an_episode_that_is_given_up_once(task, untrained):
    rules = Forbidding(task, "is_over")
    actor = Actor(task, 0, rules=rules)
    actor.policy = Policy(untrained(), task.spec)
    arm = SimulatedArm(task)
    arm.begin(actor, actor.episode)
    arm.follow(actor)
    assert actor.is_running
    actor.give_up()
    actor.give_up()
    assert not actor.is_running
    assert rules.calls == ["end_step", "on_give_up"]


def test_a_jump_in_a_hold_is_seen_in_that_hold(task):
    """Afterwards the arm is compared with where it is, not with where it was before the hold."""
    rules = Forbidding(task, "begin_step")
    actor = Actor(task, 0, rules=rules)
    arm = SimulatedArm(task)
    arm.begin(actor, actor.episode)
    arm.follow(actor)
    arm.sim.reset(arm.state().position + 0.5)
    arm.follow(actor)
    arm.follow(actor)
    assert rules.calls == ["end_hold", "on_jump", "end_hold", "end_hold"]
