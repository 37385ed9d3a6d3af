"""Nobody is asked to reach into a moving arm, and it is slow until he is out of reach."""

import dataclasses

import mujoco
import numpy as np
import pytest

from sql_ros.policy.runtime import Policy
from sql_ros.robot.config import REDUCED_SPEED_M_S
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.tasks.reach import Task
from sql_ros.runs.rollout import SimulatedArm
from sql_ros.trials.disturbance import Disturbance
from sql_ros.trials.person import APART_S, RESTS_RAD_S, Person
from sql_ros.trials.protocol import ProtocolConfig
from sql_ros.trials.session import Session
from sql_ros.trials.trial_runner import TrialRunner


@pytest.fixture(scope="module")
def short(task) -> Task:
    robot = dataclasses.replace(task.robot, payload_kg=0.2)
    return Task(task.spec.task, dataclasses.replace(task.config, episode_s=2.5), robot)


class Watched:
    """A simulated arm, its trials by hand, and how fast any of its bodies is."""

    def __init__(self, task, untrained, **protocol) -> None:
        config = ProtocolConfig(repeats=4, undisturbed=(), **protocol)
        mapper = ActionMapper(task)
        session = Session(task, mapper, config, 0, by_hand=True)
        self.arm, self.session = SimulatedArm(task), session
        self.runner = TrialRunner(
            task, Policy(untrained(), task.spec), session, by_hand=True, mapper=mapper
        )
        sim = self.arm.sim
        self._bodies = [
            body
            for body in range(sim.model.nbody)
            if sim.model.body_dofnum[sim.model.body_weldid[body]]
        ]
        self.now = 0.0

    def speed(self) -> float:
        """Return the largest speed of an origin of a body of the arm [m/s]."""
        sim, velocity, fastest = self.arm.sim, np.zeros(6), 0.0
        for body in self._bodies:
            mujoco.mj_objectVelocity(
                sim.model, sim.data, mujoco.mjtObj.mjOBJ_XBODY, body, velocity, 0
            )
            fastest = max(fastest, float(np.linalg.norm(velocity[3:])))
        return fastest

    def run(self, seconds: float) -> list[float]:
        """Go on for a while; return the speeds [m/s]."""
        speeds = []
        for _ in range(round(20 * seconds)):
            self.arm.follow(self.runner.actor)
            speeds.append(self.speed())
            self.now += 0.05
        return speeds

    def until(self, word: str) -> list[float]:
        """Go on until a prompt has a word, for half a minute; return the speeds [m/s]."""
        speeds = []
        while word not in self.runner.prompt:
            speeds += self.run(0.05)
            assert len(speeds) < 600, self.runner.prompt
        return speeds

    def confirm(self) -> bool:
        """Confirm, a while after the last time."""
        self.now += APART_S
        return self.runner.confirm(self.now)[0]


def test_a_load_is_put_into_an_arm_that_stands_and_is_slow_until_he_is_away(short, untrained):
    watched = Watched(short, untrained, payload_kg=(0.1,))
    watched.arm.sim.reset(watched.session.trial.episode.start + 0.5)
    watched.until("put 0.1 kg in the hand; then confirm")
    assert max(watched.run(5.0)) < 0.05
    assert watched.confirm()
    assert "step out" in watched.runner.prompt
    slow = watched.run(15.0)
    assert 0.1 < max(slow) <= REDUCED_SPEED_M_S
    assert watched.runner.actor.episode is watched.session.trial.episode
    assert max(slow[-20:]) < 0.02  # at its start pose it waits
    assert watched.confirm()
    assert not watched.runner.prompt
    assert max(watched.run(1.5)) > REDUCED_SPEED_M_S or watched.session.rows


def test_a_push_is_asked_of_an_arm_that_stood_and_is_slow_until_he_is_away(short, untrained):
    watched = Watched(short, untrained, push_n=(40.0,), push_bodies=("right_l5",), at_s=(0.5, 0.5))
    watched.arm.begin(watched.runner.actor, watched.session.trial.episode)
    before = watched.until("lay a hand on right_l5")
    assert max(before) > REDUCED_SPEED_M_S  # nobody was near
    assert max(watched.run(5.0)) < 0.05
    assert watched.confirm()
    assert not watched.confirm()  # no push was seen
    slow = watched.until("push right_l5")
    assert not watched.confirm()
    watched.arm.sim.disturb(Disturbance("push", 60.0, "right_l5", (0.0, 60.0, 0.0), 0.3, 0.1))
    pushed = watched.run(0.5)
    assert watched.runner.prompt.startswith("step out")
    recovering = watched.run(1.0)
    assert max(slow) <= REDUCED_SPEED_M_S < max(pushed)
    assert max(recovering) <= REDUCED_SPEED_M_S
    assert watched.confirm()
    assert not watched.runner.prompt


@pytest.mark.parametrize("word", ["skip", "repeat"])
def test_whoever_is_in_reach_stays_so_for_the_next_trial(short, untrained, word):
    watched = Watched(short, untrained, push_n=(20.0, 40.0), at_s=(0.5, 0.5))
    watched.arm.begin(watched.runner.actor, watched.session.trial.episode)
    watched.until("lay a hand")
    getattr(watched.runner, word)()
    watched.until("keep clear")
    assert max(watched.run(2.0)) < 0.02
    assert watched.confirm()
    getattr(watched.runner, word)()
    assert watched.runner.prompt.startswith("step out")
    assert max(watched.run(3.0)) <= REDUCED_SPEED_M_S


def test_a_stop_while_he_is_asked_asks_again(short, untrained):
    watched = Watched(short, untrained, push_n=(20.0,), at_s=(0.5, 0.5))
    watched.arm.begin(watched.runner.actor, watched.session.trial.episode)
    watched.until("lay a hand")
    watched.runner.actor.interrupt(watched.arm.state())
    watched.until("keep clear")
    assert max(watched.run(2.0)) < 0.02


def test_nobody_is_asked_while_the_arm_moves(short):
    person, state = Person(), SimulatedArm(short).state()
    person.call("do something")
    assert person.must_stand
    assert person.confirm(0.0) == (False, "the arm still moves: wait for the prompt")
    person.observe(
        dataclasses.replace(state, velocity=np.full(7, 2.0 * RESTS_RAD_S)), is_at_rest=True
    )
    person.observe(state, is_at_rest=False)
    assert not person.prompt
    person.observe(state, is_at_rest=True)
    assert "do something" in person.prompt


def test_one_confirmation_that_is_sent_twice_is_not_both(short):
    person = Person()
    person.call("do something")
    person.observe(SimulatedArm(short).state(), is_at_rest=True)
    assert person.confirm(0.0)[0]
    assert not person.confirm(0.5 * APART_S)[0]
    assert person.is_near
    assert person.confirm(1.1 * APART_S)[0]
    assert not person.is_near


def test_nothing_to_confirm_is_said():
    assert Person().confirm(0.0) == (False, "nothing is to be confirmed")
