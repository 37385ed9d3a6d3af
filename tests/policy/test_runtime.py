"""Torch against ONNX, and policies that must not act."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
import torch

from sql_ros.common.errors import PolicyError
from sql_ros.learning.algorithm import AlgorithmConfig
from sql_ros.learning.export import export_policy
from sql_ros.learning.learner import Learner
from sql_ros.learning.networks import Scaling
from sql_ros.learning.squash import squash
from sql_ros.policy.runtime import CANDIDATES, Policy, tempered_order
from sql_ros.robot.tasks import load_task


@pytest.fixture(scope="module", params=["mixture", "stein"])
def learner(request) -> Learner:
    config = AlgorithmConfig(
        hidden_sizes=(32, 32),
        temperature=0.25,
        sampler=request.param,
        layer_norm=request.param == "stein",
    )
    learner = Learner(config, Scaling((0.0, 0.5, 0.0), (1.0, 0.1, 10.0)), 2, seed=3)
    for parameter in learner.q.parameters():  # the target is what is exported, not its trained twin
        parameter.data.add_(0.1)
    return learner


@pytest.fixture(scope="module")
def exported(learner, small_spec) -> bytes:
    return export_policy(learner, small_spec, version=7, lineage="before")[0]


def test_onnx_gives_what_torch_gives(learner, exported, small_spec, rng):
    policy = Policy(exported, small_spec)
    for count in (1, 5, 64):
        observation = rng.normal(size=3).astype(np.float32) * 3
        noise = rng.normal(size=(count, policy.noise_size)).astype(np.float32)
        action, q = policy.candidates(observation, noise)
        with torch.no_grad():
            expected = squash(
                learner.sampler(torch.from_numpy(observation)[None], torch.from_numpy(noise)[None])
            )
            expected_q = learner.q_target(torch.from_numpy(observation)[None], expected)
        np.testing.assert_allclose(action, expected[0].numpy(), atol=1e-5)
        np.testing.assert_allclose(q, expected_q[0].numpy(), atol=1e-5)


def test_metadata_says_what_the_policy_is(learner, exported, small_spec):
    info = Policy(exported, small_spec).info
    assert (info.version, info.updates, info.temperature, info.lineage) == (7, 0, 0.25, "before")
    again, weights = export_policy(learner, small_spec, version=8, lineage=info.weights_sha256)
    assert Policy(again, small_spec).info.weights_sha256 == weights == info.weights_sha256


def test_sampling_draws_from_the_given_generator(exported, small_spec):
    policy, observation = Policy(exported, small_spec), np.ones(3, np.float32)
    first, second = (policy.sample(observation, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, policy.sample(observation, np.random.default_rng(6)))


def test_a_policy_without_q_draws_the_same_actions(exported, small_spec):
    light, whole = Policy(exported, small_spec, ranks=False), Policy(exported, small_spec)
    observation = np.array([0.3, -0.2, 0.1], np.float32)
    noise = np.random.default_rng(3).standard_normal((1, whole.noise_size), np.float32)
    drawn = light.sample(observation, np.random.default_rng(3))
    assert np.array_equal(drawn, whole.sample(observation, np.random.default_rng(3)))
    np.testing.assert_allclose(drawn, whole.candidates(observation, noise)[0][0], atol=1e-6)
    with pytest.raises(AssertionError, match="ranks=False"):
        light.ranked(observation, np.random.default_rng(3))


def test_the_mean_comes_first_if_its_q_is_at_least_average(learner, exported, small_spec, rng):
    policy, seen = Policy(exported, small_spec), set()
    for seed, observation in enumerate(rng.normal(size=(60, 3)).astype(np.float32)):
        action, q = policy.candidates(
            observation,
            np.random.default_rng(seed).standard_normal(
                (CANDIDATES, policy.noise_size), np.float32
            ),
        )
        mean = action.mean(0, keepdims=True)
        with torch.no_grad():
            q_of_mean = float(
                learner.q_target(torch.from_numpy(observation)[None], torch.from_numpy(mean)[None])
            )
        if abs(q_of_mean - q.mean()) < 1e-5:
            continue  # Q is a plane there
        best_first = action[np.argsort(-q, kind="stable")]
        seen.add(one_way := q_of_mean >= q.mean())
        expected = np.concatenate((mean, best_first)) if one_way else best_first
        np.testing.assert_allclose(
            policy.ranked(observation, np.random.default_rng(seed)), expected, atol=1e-6
        )
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"task": "other"}, "task: 'small' instead of 'other'"),
        ({"joints": ("j1", "j0")}, "joints"),
        ({"action_scale": (1.0, 3.0)}, "action_scale"),
        ({"control_rate_hz": 50.0}, "control_rate_hz"),
        ({"command_mode": "torque"}, "command_mode"),
        ({"observation": ("a", "b", "c", "d")}, "observation"),
        ({"action": ("base/linear_x", "base/linear_y")}, "action: 0 entries instead of 2"),
    ],
)
def test_the_error_names_how_a_policy_interface_differs(exported, small_spec, changes, named):
    with pytest.raises(PolicyError, match="another interface") as error:
        Policy(exported, dataclasses.replace(small_spec, **changes))
    assert named in str(error.value)


def test_the_difference_to_another_task_begins_with_its_name(task):
    other = load_task("sawyer_stack").spec
    assert (
        task.spec.differences(json.loads(other.to_json()))
        == "task: 'sawyer_stack' instead of 'sawyer_reach', observation[14]: 'from_target/x'"
        " instead of 'tool/x', observation_offset[14]: 0.0 instead of 0.6,"
        " observation_scale[14]: 0.05 instead of 0.3, command_mode: 'torque' instead of"
        " 'velocity', action_scale[0]: 4.0 instead of 0.8"
    )
    assert "joints: 6 entries instead of 7" in task.spec.differences(
        json.loads(load_task("ur5e_reach").spec.to_json())
    )


def _with_metadata(data: bytes, **changes: str) -> bytes:
    model = onnx.load_from_string(data)
    for entry in model.metadata_props:
        entry.value = changes.get(entry.key, entry.value)
    return model.SerializeToString()


def _with_weights(data: bytes, value: float) -> bytes:
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(
                    np.full(list(tensor.dims), value, np.float32), tensor.name
                )
            )
    return model.SerializeToString()


def _without_noise(data: bytes) -> bytes:
    model = onnx.load_from_string(data)
    for item in model.graph.input:
        item.name = "dither" if item.name == "noise" else item.name
    for node in model.graph.node:
        node.input[:] = ["dither" if name == "noise" else name for name in node.input]
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: len(data) // 2], "no ONNX file"),
        (lambda data: b"no onnx at all", "no ONNX file"),
        (lambda data: b"", "format None, expected"),
        (
            lambda data: _with_metadata(data, format="sql_ros.policy/99"),
            "format 'sql_ros.policy/99', expected 'sql_ros.policy/2'",
        ),
        (lambda data: _with_metadata(data, version="many"), "broken metadata"),
        (lambda data: _with_metadata(data, spec="{"), "broken metadata"),
        (
            lambda data: _with_metadata(data, spec=json.dumps([1])),
            "broken metadata|another interface",
        ),
        (lambda data: _with_weights(data, np.nan), "non-finite"),
        (_without_noise, "expected 'observation' and 'noise' of shape"),
    ],
)
def test_a_damaged_policy_is_refused(exported, small_spec, damage, message):
    with pytest.raises(PolicyError, match=message):
        Policy(damage(exported), small_spec)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.2])
def test_tempered_draws_follow_the_boltzmann_weights(temperature):
    """Of samples of exp(Q / 0.2) the first of the order is drawn with probability as exp(Q (1 / T -
    1 / 0.2)).
    """
    q, rng, draws = np.array([0.0, 0.1, 0.3], np.float32), np.random.default_rng(0), 20_000
    firsts = [tempered_order(q, temperature, 0.2, rng)[0] for _ in range(draws)]
    weights = np.exp(q * (1.0 / temperature - 1.0 / 0.2))
    expected = weights / weights.sum()
    np.testing.assert_allclose(np.bincount(firsts, minlength=3) / draws, expected, atol=0.015)


def test_a_temperature_above_the_policys_own_counts_as_it():
    q = np.array([0.0, 5.0], np.float32)
    orders = [
        tempered_order(q, temperature, 0.2, np.random.default_rng(3)).tolist()
        for temperature in (0.2, 9.0)
    ]
    assert orders[0] == orders[1]


def test_a_cold_policy_gives_its_best_candidates_first(exported, small_spec):
    policy, observation = Policy(exported, small_spec), np.ones(3, np.float32)
    noise = np.random.default_rng(4).standard_normal((CANDIDATES, policy.noise_size), np.float32)
    action, q = policy.candidates(observation, noise)
    tempered = policy.tempered(observation, np.random.default_rng(4), 1e-9)
    np.testing.assert_allclose(tempered, action[np.argsort(-q)], atol=1e-6)
