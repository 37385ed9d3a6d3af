"""Every layout there and back, and every way in which a message can be wrong."""

import array
import dataclasses

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.serialization import deserialize_message
from std_msgs.msg import (
    Float64MultiArray,
    MultiArrayDimension,
    MultiArrayLayout,
    UInt8MultiArray,
    UInt64MultiArray,
)

from sql_ros.common.errors import MessageError
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.learning.trainer import Trainer
from sql_ros.nodes.messages import (
    EPISODE_FIELDS,
    Progress,
    ReplayEntry,
    TransitionCodec,
    command_from_msg,
    command_to_msg,
    disturbance_from_msg,
    disturbance_to_msg,
    episode_from_msg,
    episode_to_msg,
    policy_from_msg,
    policy_to_msg,
    progress_from_msg,
    progress_to_msg,
    target_from_msg,
    target_to_msg,
)
from sql_ros.policy.transition import LARGEST_INPUT, LARGEST_REWARD, Transition
from sql_ros.robot.control.step import EpisodeSummary
from sql_ros.trials.disturbance import Disturbance

JOINTS = ("j0", "j1")


def test_a_command_survives_the_way_there_and_back():
    values, answers = command_from_msg(
        command_to_msg(np.array([0.5, -0.5]), "velocity", JOINTS, 42), "velocity", JOINTS
    )
    assert (values.tolist(), answers) == ([0.5, -0.5], 42)


def test_a_bare_command_as_typed_by_hand_is_taken():
    values, answers = command_from_msg(Float64MultiArray(data=[1.0, 2.0]), "velocity", JOINTS)
    assert (values.tolist(), answers) == ([1.0, 2.0], None)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Float64MultiArray(data=[1.0]), "command has 1 values, expected 2: j0, j1"),
        (Float64MultiArray(data=[1.0, np.nan]), "command is not finite"),
        (
            command_to_msg(np.zeros(2), "torque", JOINTS, 1),
            "labelled 'torque j0 j1', expected 'velocity j0 j1'",
        ),
        (
            command_to_msg(np.zeros(2), "velocity", ("j1", "j0"), 1),
            "labelled 'velocity j1 j0', expected 'velocity j0 j1'",
        ),
    ],
)
def test_a_wrong_command_is_refused(message, text):
    with pytest.raises(MessageError) as error:
        command_from_msg(message, "velocity", JOINTS)
    assert text in str(error.value)


@pytest.fixture
def codec(small_spec) -> TransitionCodec:
    return TransitionCodec(small_spec)


@pytest.fixture
def entry() -> ReplayEntry:
    transition = Transition(
        np.array([1, 2, 3], np.float32),
        np.array([0.5, -1], np.float32),
        -2.5,
        np.array([4, 5, 6], np.float32),
        False,
        True,
    )
    return ReplayEntry(5, 1_795_238_905_360_123, 3, 4, 2**40, 6, transition, 2**39)


def test_a_transition_survives_the_way_there_and_back_to_the_bit(codec, entry):
    back = codec.from_msg(codec.to_msg(entry))
    assert dataclasses.replace(back, transition=entry.transition) == entry
    for name, value in vars(entry.transition).items():
        np.testing.assert_array_equal(getattr(back.transition, name), value)


def test_a_transition_that_was_kept_is_sent_with_the_oldest_there_is_then(codec, entry):
    content = codec.pack(entry)
    assert codec.unpack(content).sequence == entry.sequence
    again = codec.from_msg(codec.wrap(content, 77))
    assert dataclasses.replace(again, transition=entry.transition, oldest=entry.oldest) == entry
    assert again.oldest == 77
    assert repr(deserialize_message(codec.serialize(content, 77), Float64MultiArray)) == repr(
        codec.wrap(content, 77)
    )  # not ==: of -0.0, too
    with pytest.raises(MessageError, match="17 values"):
        codec.unpack(content[:-3])


def test_a_transition_that_nobody_would_take_is_not_packed(codec, entry):
    for value in (1e20, np.nan):
        broken = dataclasses.replace(entry.transition, next_observation=np.array([value, 0.0, 0.0]))
        with pytest.raises(MessageError, match=r"at \[15\]"):
            codec.pack(dataclasses.replace(entry, transition=broken))


@pytest.mark.parametrize("sampler", ["mixture", "stein"])
def test_networks_stay_finite_with_the_largest_transitions_that_are_taken(
    codec, entry, small_spec, sampler
):
    trainer = Trainer(
        small_spec,
        TrainerConfig(warmup_transitions=1),
        AlgorithmConfig(sampler=sampler, batch_size=16),
        0,
    )
    largest = np.full(3, LARGEST_INPUT) * small_spec.observation_scale
    for observation in (entry.transition.observation, largest, -largest):
        for reward in (0.0, LARGEST_REWARD):
            transition = dataclasses.replace(
                entry.transition,
                observation=observation,
                next_observation=observation,
                reward=reward,
            )
            trainer.add(
                codec.from_msg(
                    codec.to_msg(dataclasses.replace(entry, transition=transition))
                ).transition
            )
    for _ in range(100):
        trainer.update()
    for network in (trainer.learner.q, trainer.learner.sampler):
        assert all(parameter.isfinite().all() for parameter in network.parameters())


def test_a_transition_describes_itself(codec, entry, small_spec):
    labels = [dimension.label for dimension in codec.to_msg(entry).layout.dim]
    assert labels[0].endswith("truncated observation[3] action[2] next_observation[3]")
    assert labels[1] == f"schema {small_spec.schema_hash}"


def _altered(codec, entry, index=None, value=None, cut=None, labels=None) -> Float64MultiArray:
    message = codec.to_msg(entry)
    data = array.array("d", message.data)
    if index is not None:
        data[index] = value
    dim = (
        message.layout.dim
        if labels is None
        else [MultiArrayDimension(label=label) for label in labels]
    )
    return Float64MultiArray(layout=MultiArrayLayout(dim=dim), data=data[:cut])


@pytest.mark.parametrize(
    ("alteration", "text"),
    [
        ({"cut": -1}, "transition has 17 values, expected 18 (2 x 3 observation + 2 action + 10)"),
        ({"cut": 0}, "transition has 0 values"),
        ({"index": 11, "value": np.nan}, "not finite as float32 at [11]"),
        ({"index": 7, "value": np.inf}, "not finite as float32 at [7]"),
        ({"index": 11, "value": 1e39}, "not finite as float32 at [11]"),
        ({"index": 4, "value": 0.5}, "whole numbers"),
        ({"index": 4, "value": 0.0}, "sequence 0"),
        ({"index": 5, "value": 0.0}, "oldest 0"),
        ({"index": 5, "value": 2.0**41}, "no later"),
        ({"index": 1, "value": -1.0}, "whole numbers"),
        ({"index": 8, "value": 0.5}, "expected 0 or 1"),
        ({"index": 13, "value": 1.5}, "has [1.5] at [13], expected [-x, x] with x = [1.]"),
        # its scale is 0.1
        ({"index": 11, "value": 1e20}, "has [1.e+20] at [11], expected [-x, x] with x = [1000.]"),
        ({"index": 17, "value": -100_001.0}, "at [17], expected [-x, x] with x = [100000.]"),
        ({"index": 7, "value": -1e20}, "at [7], expected [-x, x] with x = [1000000.]"),
        ({"labels": []}, "another version"),
        ({"labels": ["sql_ros.transition/1 x", "schema 0"]}, "another version"),
    ],
)
def test_a_wrong_transition_is_refused(codec, entry, alteration, text):
    with pytest.raises(MessageError) as error:
        codec.from_msg(_altered(codec, entry, **alteration))
    assert text in str(error.value)


def test_a_transition_of_another_task_is_refused(codec, entry, small_spec):
    foreign = TransitionCodec(dataclasses.replace(small_spec, control_rate_hz=50.0))
    with pytest.raises(MessageError, match="actor and learner disagree on the task"):
        codec.from_msg(foreign.to_msg(entry))


def test_a_policy_survives_and_an_altered_one_is_refused():
    message = policy_to_msg(b"some bytes")
    assert policy_from_msg(message) == b"some bytes"
    altered = UInt8MultiArray(layout=message.layout, data=b"some bites")
    with pytest.raises(MessageError, match=r"has SHA-256 .* but is labelled"):
        policy_from_msg(altered)
    with pytest.raises(MessageError, match="has labels"):
        policy_from_msg(UInt8MultiArray(data=b"some bytes"))


def test_progress_and_episodes_survive_and_wrong_ones_are_refused():
    progress = Progress(3, 4, 5, {2**52: 2, 7: 2**40}, "1795000000000000000")
    assert progress_from_msg(progress_to_msg(progress)) == progress
    summary = EpisodeSummary(1, 100, 120, -3.25, True, 0.015, 7, terminated=True)
    assert episode_from_msg(episode_to_msg(summary)) == summary
    with pytest.raises(MessageError, match="has labels"):
        progress_from_msg(UInt64MultiArray(data=[1, 2]))
    odd = progress_to_msg(progress)
    odd.data = odd.data[:-1]
    with pytest.raises(MessageError, match="has 6 values, expected 3 and two per actor process"):
        progress_from_msg(odd)
    message = episode_to_msg(summary)
    message.data = message.data[:-1]
    with pytest.raises(MessageError, match="has 7 values, expected 8"):
        episode_from_msg(message)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("robot_steps", 1e308, "not finite as float32"),
        ("distance", np.nan, "not finite"),
        ("steps", -1.0, "counts"),
        ("index", 0.5, "counts"),
    ],
)
def test_an_episode_that_cannot_be_is_refused(field, value, text):
    message = episode_to_msg(EpisodeSummary(1, 100, 120, -3.25, True, 0.015, 7))
    message.data[EPISODE_FIELDS.index(field)] = value
    with pytest.raises(MessageError, match=text):
        episode_from_msg(message)


def test_a_target_survives_the_way_there_and_back():
    message = target_to_msg(np.array([0.6, 0.1, -0.07]), 1_500_000_000, "base_link")
    assert (message.header.frame_id, message.header.stamp.sec, message.pose.orientation.w) == (
        "base_link",
        1,
        1.0,
    )
    np.testing.assert_array_equal(target_from_msg(message, "base_link"), [0.6, 0.1, -0.07])


def test_a_target_in_another_frame_or_not_finite_is_refused():
    foreign, broken = PoseStamped(), PoseStamped()
    foreign.header.frame_id = "map"
    broken.pose.position.x = float("nan")
    for message, text in (
        (foreign, "target in frame 'map', expected 'base_link'"),
        (broken, "not finite"),
    ):
        with pytest.raises(MessageError, match=text):
            target_from_msg(message, "base_link")


@pytest.mark.parametrize(
    "disturbance",
    [
        Disturbance("push", 20.0, "right_l5", (1.0, -2.0, 19.9), 0.3, 0.1),
        Disturbance("delay", 2.0),
        Disturbance("moved_target", 0.01, "", (0.6, 0.1, 0.0)),
    ],
    ids=lambda d: d.kind,
)
def test_a_disturbance_survives_the_way_there_and_back(disturbance):
    assert disturbance_from_msg(disturbance_to_msg(disturbance)) == disturbance


@pytest.mark.parametrize("how", ["kind", "version", "length", "nan", "negative time", "no label"])
def test_a_disturbance_that_is_none_is_refused(how):
    message = disturbance_to_msg(Disturbance("push", 20.0, "right_l5", (0.0, 20.0, 0.0), 0.3, 0.1))
    if how == "kind":
        message.layout.dim[1].label = "earthquake right_l5"
    elif how == "version":
        message.layout.dim[0].label = message.layout.dim[0].label.replace("/1", "/2")
    elif how == "length":
        message.data = message.data[:-1]
    elif how == "nan":
        message.data[1] = float("nan")
    elif how == "negative time":
        message.data[4] = -1.0
    else:
        message.layout.dim.pop()
    with pytest.raises(MessageError, match="disturbance"):
        disturbance_from_msg(message)
