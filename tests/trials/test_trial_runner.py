"""The protocol of perturbation trials, and the runner that goes through it.

The arm is the simulation of `sawyer_reach`.
"""

import dataclasses
import itertools
import math
import re

import numpy as np
import pytest

from sql_ros.common.errors import ConfigError
from sql_ros.policy.runtime import Policy
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.control.homing import LONGEST_S
from sql_ros.robot.safety.dynamics import Dynamics
from sql_ros.robot.tasks import load_task
from sql_ros.robot.tasks.reach import Task
from sql_ros.runs.rollout import SimulatedArm
from sql_ros.trials.disturbance import Disturbance
from sql_ros.trials.protocol import ProtocolConfig, fitted, load_protocol
from sql_ros.trials.push_detector import REMEMBERED, PushDetector
from sql_ros.trials.session import Session
from sql_ros.trials.trial import draw_trial
from sql_ros.trials.trial_runner import TrialRunner

PROTOCOL = ProtocolConfig(
    repeats=2,
    push_n=(20.0, 40.0),
    payload_kg=(0.2,),
    moved_m=(0.01,),
    push_bodies=("right_l3", "right_l5"),
)


@pytest.fixture(scope="module")
def short(task) -> Task:
    """Reaching, by an untrained policy, in episodes of a second."""
    return Task(task.spec.task, dataclasses.replace(task.config, episode_s=1.5), task.robot)


@pytest.fixture(scope="module")
def mapper(short) -> ActionMapper:
    return ActionMapper(short)


@pytest.fixture
def policy(short, untrained) -> Policy:
    return Policy(untrained(), short.spec)


def _session(short, mapper, protocol=PROTOCOL, **options) -> Session:
    return Session(short, mapper, protocol, 0, "sha", **options)


def _holds(arm: SimulatedArm, runner: TrialRunner) -> None:
    for _ in range(20):
        arm.follow(runner.actor)
    assert runner.actor.safety.is_at_rest


def test_trials_depend_on_kind_size_number_and_seed_alone(short, mapper):
    protocol = fitted(PROTOCOL, short)
    first, same = (draw_trial(short, mapper, protocol, "push", 20.0, 1, 5) for _ in range(2))
    np.testing.assert_array_equal(first.episode.start, same.episode.start)
    assert (first.disturbance, first.at_s) == (same.disturbance, same.at_s)
    for other in (
        draw_trial(short, mapper, protocol, "push", 20.0, 2, 5),
        draw_trial(short, mapper, protocol, "push", 20.0, 1, 6),
    ):
        assert other.disturbance != first.disturbance


def test_a_push_has_its_size_a_body_of_the_list_and_its_time(short, mapper):
    protocol = dataclasses.replace(PROTOCOL, at_s=(1.0, 6.0))
    trials = [draw_trial(short, mapper, protocol, "push", 40.0, i, 0) for i in range(50)]
    np.testing.assert_allclose([np.linalg.norm(t.disturbance.vector) for t in trials], 40.0)
    assert {t.disturbance.body for t in trials} == {"right_l3", "right_l5"}
    assert all(1.0 <= t.at_s <= 6.0 for t in trials)
    assert np.ptp([t.at_s for t in trials]) > 3.0


def test_a_displaced_arm_begins_farther_away_than_in_training_and_clear_of_everything(
    short, mapper
):
    neutral = np.array(short.robot.neutral_position)
    trials = [
        draw_trial(short, mapper, fitted(PROTOCOL, short), "displaced", 0.4, i, 0)
        for i in range(20)
    ]
    farthest = np.array([np.abs(t.episode.start - neutral).max() for t in trials])
    assert ((farthest >= 0.2) & (farthest <= 0.4)).all()
    arm = SimulatedArm(short)
    for trial in trials:
        arm.sim.reset(trial.episode.start)
        assert mapper.safety.is_stoppable(arm.state())


def test_a_target_moves_sideways_by_its_size(short, mapper):
    trial = draw_trial(short, mapper, fitted(PROTOCOL, short), "moved_target", 0.03, 0, 0)
    moved = np.array(trial.disturbance.vector) - trial.episode.target
    assert (np.linalg.norm(moved), moved[2]) == (pytest.approx(0.03), 0.0)


def test_sizes_go_up_until_fewer_than_half_succeed(short, mapper):
    session = _session(short, mapper)
    while session.trial is not None:
        trial = session.trial
        session.close(not (trial.kind == "push" and trial.size == 20.0), 1.0, 0.1, 0)
    made = [(row.kind, row.size) for row in session.rows]
    assert ("push", 40.0) not in made
    assert made.count(("push", 20.0)) == 2
    assert ("moved_target", 0.01) in made
    assert session.broken == {"push": 20.0}
    assert all(math.isnan(row.recovery_s) for row in session.rows if not row.success)


def test_a_session_by_hand_has_only_what_a_hand_can_do(short, mapper):
    session = _session(short, mapper, by_hand=True)
    kinds = set()
    while session.trial is not None:
        kinds.add(session.trial.kind)
        session.close(True, 0.0, 0.0, 0)
    assert kinds == {"undisturbed", "push", "payload"}


def test_every_trial_is_made_once_and_is_one_row(short, mapper, policy):
    protocol = dataclasses.replace(PROTOCOL, at_s=(0.5, 0.8))
    session, arm = _session(short, mapper, protocol), SimulatedArm(short)
    runner = TrialRunner(short, policy, session, mapper=mapper)
    while arm.try_once(runner) is not None:
        pass
    made = [(row.kind, row.size, row.repeat) for row in session.rows]
    # an untrained policy breaks every kind at its first size
    assert len(set(made)) == len(made) >= 8
    assert all(row.policy_sha256 == "sha" and row.deviation_m > 0 for row in session.rows)
    assert session.trial is None
    _holds(arm, runner)


def test_the_disturbance_comes_once_at_its_time(short, mapper, policy):
    protocol = fitted(
        ProtocolConfig(repeats=1, undisturbed=(), push_n=(30.0,), at_s=(0.8, 0.8)), short
    )
    session, arm = _session(short, mapper, protocol), SimulatedArm(short)
    runner = TrialRunner(short, policy, session, mapper=mapper)
    arm.begin(runner.actor, session.trial.episode)
    began, requests = arm.sim.time_ns, []
    while not session.rows:
        at = arm.sim.time_ns - began
        arm.follow(runner.actor)
        if runner.pending_disturbance is not None:
            requests.append((1e-9 * at, runner.pending_disturbance))
    assert [request for _, request in requests] == [
        draw_trial(short, mapper, protocol, "push", 30.0, 0, 0).disturbance
    ]
    assert requests[0][0] == pytest.approx(0.8, abs=0.051)


def test_what_lasts_is_over_when_the_trial_is(short, mapper, policy):
    protocol = ProtocolConfig(repeats=2, undisturbed=(), delay_steps=(1.0,))
    session, arm = _session(short, mapper, protocol), SimulatedArm(short)
    runner = TrialRunner(short, policy, session, mapper=mapper)
    arm.begin(runner.actor, session.trial.episode)
    requests = []
    for _ in range(400):
        arm.follow(runner.actor)
        if runner.pending_disturbance is not None:
            requests.append((len(session.rows), runner.pending_disturbance.kind))
        if len(requests) == 4:
            break
    assert requests == [(0, "delay"), (1, "over"), (1, "delay"), (2, "over")]


def test_an_interrupted_trial_begins_anew_and_leaves_no_row(short, mapper, policy):
    session, arm = _session(short, mapper), SimulatedArm(short)
    runner = TrialRunner(short, policy, session, mapper=mapper)
    arm.begin(runner.actor, session.trial.episode)
    for _ in range(10):
        arm.follow(runner.actor)
    runner.actor.interrupt(arm.state())  # as the node does when somebody stops the arm
    trial = session.trial
    for _ in range(300):
        arm.follow(runner.actor)
        if session.rows:
            break
    assert (session.rows[0].kind, session.rows[0].repeat) == (trial.kind, trial.repeat)


def test_what_was_done_in_a_trial_that_is_stopped_is_undone_before_it_begins_anew(
    short, mapper, policy
):
    protocol = ProtocolConfig(repeats=1, undisturbed=(), moved_m=(0.1,), at_s=(0.5, 0.5))
    session, arm = _session(short, mapper, protocol), SimulatedArm(short)
    runner = TrialRunner(short, policy, session, mapper=mapper)
    trial = session.trial
    while runner.pending_disturbance is None:
        arm.follow(runner.actor)
    runner.actor.interrupt(arm.state())
    assert session.trial is trial
    np.testing.assert_array_equal(runner.actor.episode.target, trial.episode.target)
    arm.follow(runner.actor)
    assert runner.pending_disturbance.kind == "over"


@pytest.mark.parametrize(("fresh", "rows"), [(True, []), (False, [False])])
def test_an_arm_whose_states_cannot_be_trusted_after_its_disturbance_did_not_recover(
    short, mapper, policy, fresh, rows
):
    protocol = ProtocolConfig(repeats=1, undisturbed=(), push_n=(30.0,), at_s=(0.5, 0.5))
    session, arm = _session(short, mapper, protocol), SimulatedArm(short)
    runner = TrialRunner(short, policy, session, mapper=mapper)
    arm.begin(runner.actor, session.trial.episode)
    runner.actor.interrupt(arm.state(), fresh=False)  # before it: the trial begins anew
    assert not session.rows
    arm.begin(runner.actor, session.trial.episode)
    while runner.pending_disturbance is None:
        arm.follow(runner.actor)
    runner.actor.interrupt(arm.state(), fresh=fresh)
    assert [row.success for row in session.rows] == rows


def test_an_arm_thrown_about_faster_than_it_moves_did_not_recover(short, mapper, policy):
    protocol = ProtocolConfig(
        repeats=1, undisturbed=(), push_n=(2000.0,), push_s=0.5, at_s=(0.5, 0.5)
    )
    session, arm = _session(short, mapper, protocol), SimulatedArm(short)
    runner = TrialRunner(short, policy, session, mapper=mapper)
    row = arm.try_once(runner)
    assert not row.success
    assert session.trial is None
    assert runner.actor.given_up == 1


@pytest.mark.parametrize("by_hand", [False, True])
def test_an_arm_that_cannot_get_to_its_start_pose_is_put_back_before_the_trial(
    short, mapper, policy, by_hand
):
    """It stands still, whatever it is told."""
    session, arm = _session(short, mapper, by_hand=by_hand), SimulatedArm(short)
    runner = TrialRunner(short, policy, session, by_hand=by_hand, mapper=mapper)
    stuck, requests, prompts = (
        dataclasses.replace(arm.state(), position=np.array(short.robot.neutral_position) + 0.4),
        [],
        set(),
    )
    trial = session.trial
    for _ in range(2 * round(LONGEST_S * 20) + 50):
        assert runner.actor.step(stuck).target is None  # no trial begins
        requests += [runner.pending_disturbance] if runner.pending_disturbance else []
        prompts.add(runner.prompt)
    assert [request.kind for request in requests] == ([] if by_hand else ["reset"])
    assert runner.unreachable == (0 if by_hand else 1)
    assert (session.trial is trial) == by_hand  # what did not help twice is left out
    assert any("start pose" in prompt for prompt in prompts) == by_hand
    if not by_hand:
        arm.sim.disturb(requests[0])
        np.testing.assert_allclose(arm.state().position, short.robot.neutral_position)


def test_a_trial_is_skipped_repeated_and_the_session_aborted(short, mapper, policy):
    session, arm = _session(short, mapper), SimulatedArm(short)
    runner = TrialRunner(short, policy, session, mapper=mapper)
    first = session.trial
    runner.repeat()
    assert session.trial is first
    runner.skip()
    assert (session.trial.kind, session.trial.repeat, session.rows) == (first.kind, 1, [])
    arm.try_once(runner)
    runner.abort()
    assert session.aborted
    assert len(session.rows) == 1
    _holds(arm, runner)
    runner.skip()
    assert session.trial is None


class Unfeeling(SimulatedArm):
    """An arm whose driver measures no torques."""

    def state(self):
        return dataclasses.replace(super().state(), effort=np.full(7, np.nan))


@pytest.mark.parametrize(
    ("kind", "by"), [(SimulatedArm, "motion and torque"), (Unfeeling, "motion")]
)
def test_a_push_by_hand_is_asked_for_and_recognised(short, mapper, policy, kind, by):
    """The operator is a script: it reads the prompt and pushes the simulated arm.

    The time of the episode begins with the push.
    """
    # an arm that stands, as one at its goal does
    still = dataclasses.replace(short.config, action_scale=(0.001,) * 7)
    task = Task(short.spec.task, still, short.robot)
    policy.spec = task.spec
    protocol = ProtocolConfig(
        repeats=1, undisturbed=(), push_n=(40.0,), push_bodies=("right_l5",), at_s=(0.5, 0.5)
    )
    session, arm = Session(task, mapper, protocol, 0, "sha", by_hand=True), kind(task)
    runner = TrialRunner(task, policy, session, by_hand=True, mapper=ActionMapper(task))
    arm.begin(runner.actor, session.trial.episode)
    asked, waited, now = "", 0, 0.0
    for _ in range(400):
        arm.follow(runner.actor)
        now += 0.05
        assert runner.pending_disturbance is None
        if runner.prompt.startswith(("the arm stands", "step out")):
            runner.confirm(now)
        elif runner.prompt.startswith("push"):
            asked, waited = runner.prompt, waited + 1
            if waited == 60:  # longer than the whole episode would be
                arm.sim.disturb(Disturbance("push", 150.0, "right_l5", (0.0, 150.0, 0.0), 0.3, 0.1))
        if session.rows:
            break
    assert asked.startswith("push right_l5 ")
    assert "40 N" in asked
    assert 60 < waited < 70
    assert session.rows[0].kind == "push"
    assert session.rows[0].push_seen_by == by


@pytest.fixture
def watch(short) -> PushDetector:
    return PushDetector(Dynamics(short.robot, short.config.scene, 0.05))


def test_torques_that_nobody_commanded_are_a_push(short, watch):
    """As an arm with torque sensors feels it, before it moves."""
    state, commanded, stamps = (
        SimulatedArm(short).state(),
        np.full(7, 1.0),
        itertools.count(10**9, 50_000_000),
    )

    def feels(friction: float) -> bool:
        return watch.sees(
            dataclasses.replace(state, effort=commanded + friction, stamp_ns=next(stamps)),
            commanded,
        )

    assert not any(feels(2.0) for _ in range(3 * REMEMBERED))  # the same all the time
    assert feels(7.0)


@pytest.mark.parametrize("kind", [SimulatedArm, Unfeeling])
@pytest.mark.parametrize("newtons", [30.0, 80.0])
def test_a_motion_that_no_torque_explains_is_a_push(short, watch, rng, newtons, kind):
    """The arm moves about under torques that change all the time.

    Only when it is pushed is that recognised.
    """
    arm, seen = kind(short), []
    for step in range(80):
        if step == 60:
            arm.sim.disturb(Disturbance("push", newtons, "right_l5", (0.0, newtons, 0.0), 0.3, 0.1))
        torque = rng.uniform(-2.0, 2.0, 7)
        seen.append(watch.sees(arm.state(), torque))
        arm.sim.command("torque", torque, 0.05)
        arm.sim.advance(25)
    assert not any(seen[:61])
    assert any(seen[61:66])


def test_a_torque_that_is_commanded_and_not_measured_is_no_push(short, watch):
    """An arm without torque sensors moves as it is told, with more than before."""
    arm, seen = Unfeeling(short), []
    for step in range(70):
        torque = np.full(7, 0.2 if step < 60 else 6.0) * (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        seen.append(watch.sees(arm.state(), torque))
        arm.sim.command("torque", torque, 0.05)
        arm.sim.advance(25)
    assert not any(seen)
    assert not watch.has_torques


def test_states_that_are_late_or_lost_are_no_push(short, watch, rng):
    """A state seen twice is no arm that stood still against its torques, and after a lost one
    the next is no blow.
    """
    arm, seen = SimulatedArm(short), []
    state = arm.state()
    for step in range(120):
        if step < 60 or step % 3:
            state = arm.state()
        torque = rng.uniform(-2.0, 2.0, 7) + 6.0 * np.sin(step / 8) * np.eye(7)[0]
        seen.append(watch.sees(state, torque))
        arm.sim.command("torque", torque, 0.05)
        arm.sim.advance(25)
    assert not any(seen)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"push_n": (40.0, 20.0)}, "push_n"),
        ({"at_s": (3.0,)}, "at_s"),
        ({"at_s": (3.0, 1.0)}, "at_s"),
        ({"repeats": 0}, "repeats"),
    ],
)
def test_a_protocol_that_makes_no_sense_is_named(values, word):
    with pytest.raises(ConfigError, match=word):
        ProtocolConfig(**values)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (
            "push_bodies: [right_l3]",
            (
                "'push_bodies' names 'right_l3', but what can be pushed in"
                " sim/scenes/ur5e_reach.xml is: shoulder_link, "
            ),
        ),
        ("push_bodies: [bench]", "'bench'"),  # there, but a push moves nothing
        ("push_bodies: [goal]", "wrist_3_link"),
        (
            "at_s: [1, 6]",
            "'at_s' goes up to 6 s and a push lasts 0.4 s, but an episode of ur5e_reach has 5 s",
        ),
        ("at_s: [1, 4.6]", "4.6 s"),  # not over before the episode is
        ("push_n: []\nat_s: [1, 5]", "goes up to 5 s, but"),
        ("push_n: [20000]", "'push_n' must be at most 10000"),  # which the bridge refuses
    ],
)
def test_a_protocol_that_cannot_be_done_to_the_arm_is_refused_with_its_file(tmp_path, line, error):
    path = tmp_path / "own.yaml"
    path.write_text(
        f"moved_m: [0.01]\n{line}\n"
        if "push_n" in line
        else f"push_n: [20]\nmoved_m: [0.01]\n{line}\n"
    )
    with pytest.raises(ConfigError, match=f"own.yaml: .*{re.escape(error)}"):
        load_protocol(str(path), load_task("ur5e_reach"))


def test_a_session_refuses_what_cannot_be_done_before_its_first_trial(short, mapper):
    with pytest.raises(ConfigError, match="forearm_link"):
        _session(short, mapper, dataclasses.replace(PROTOCOL, push_bodies=("forearm_link",)))
    with pytest.raises(ConfigError, match="episode"):
        _session(short, mapper, dataclasses.replace(PROTOCOL, at_s=(1.0, 6.0)))
    with pytest.raises(ConfigError, match="displaced_rad"):
        _session(short, mapper, dataclasses.replace(PROTOCOL, displaced_rad=(20.0,)))


@pytest.mark.parametrize(
    ("name", "bodies", "times"),
    [
        # what docs/stacking.md quotes, to the digit
        ("sawyer_stack", ("right_l3", "right_l5", "right_hand"), (1.0, 6.0)),
        ("sawyer_reach", ("right_l3", "right_l5", "right_hand"), (0.4, 2.4)),
        ("ur5e_reach", ("forearm_link", "wrist_2_link", "wrist_3_link"), (0.4, 2.4)),
    ],
)
@pytest.mark.parametrize("protocol", ["standard", "reference"])
def test_the_shipped_protocols_can_be_done_in_every_shipped_task(name, bodies, times, protocol):
    task = load_task(name)
    config = load_protocol(protocol, task, 3)
    assert (config.push_bodies, config.at_s) == (bodies, times)
    Session(task, ActionMapper(task), config, 0)  # every trial can be drawn


def test_a_draw_of_stacking_is_what_it_was_when_the_results_were_measured():
    task = load_task("sawyer_stack")
    trial = draw_trial(
        task, ActionMapper(task), load_protocol("reference", task), "push", 20.0, 0, 0
    )
    assert (trial.disturbance.body, trial.at_s) == ("right_hand", 4.721447799903052)
    np.testing.assert_array_equal(
        trial.disturbance.vector, (3.9168231759489016, 13.43533781613778, 14.288113730461685)
    )


def test_the_reference_protocol_is_the_first_size_of_every_kind():
    stack = load_task("sawyer_stack")
    standard, reference = load_protocol("standard", stack), load_protocol("reference", stack)
    assert reference.sizes() == {kind: sizes[:1] for kind, sizes in standard.sizes().items()}
    for name in ("repeats", "push_s", "push_ramp_s", "push_bodies", "at_s"):
        assert getattr(reference, name) == getattr(standard, name)


def test_the_shipped_protocol_tries_everything(task):
    protocol = load_protocol("standard", task, 3)
    assert protocol.repeats == 3
    assert set(protocol.sizes()) == {
        "undisturbed",
        "push",
        "displaced",
        "payload",
        "friction",
        "damping",
        "delay",
        "lost_states",
        "moved_target",
    }
