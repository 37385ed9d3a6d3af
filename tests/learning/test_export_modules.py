"""The networks as they act against the networks as they are trained."""

import onnx
import pytest
import torch

from sql_ros.learning.algorithm import AlgorithmConfig
from sql_ros.learning.export import export_policy
from sql_ros.learning.export_modules import Candidates
from sql_ros.learning.learner import Learner
from sql_ros.learning.networks import Scaling
from sql_ros.learning.squash import squash

SCALING = Scaling((0.0, 0.5, -2.0, 1.0), (1.0, 0.1, 10.0, 3.0))


def _learner(size: int, **settings) -> Learner:
    """With weights far from those of the start: a sheared, lopsided mixture."""
    learner = Learner(AlgorithmConfig(hidden_sizes=(24, 24), **settings), SCALING, size, seed=1)
    generator = torch.Generator().manual_seed(2)
    for network in (learner.sampler, learner.q_target):
        for parameter in network.parameters():
            parameter.data.add_(0.15 * torch.randn(parameter.shape, generator=generator))
    return learner


@pytest.mark.parametrize("size", [1, 2, 3, 7, 9])
@pytest.mark.parametrize(
    "settings",
    [
        {"sampler": "mixture", "q_networks": 2},
        {"kind": "sac", "q_networks": 1},  # one Gaussian
        {"sampler": "stein", "q_networks": 3, "layer_norm": True},
        {"sampler": "stein", "noise_skip": False},
    ],
)
def test_candidates_are_those_of_the_trained_networks(size, settings):
    """In double precision: in single, a stiff mixture turns rounding into differences of 1e-4."""
    learner = _learner(size, **settings)
    sampler, q_target = learner.sampler.double(), learner.q_target.double()
    acting = Candidates(sampler, q_target).double()
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        observation = 3 * torch.randn(1, 4, generator=generator, dtype=torch.float64)
        noise = torch.randn(50, sampler.noise_size, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            action, q = acting(observation, noise)
            expected = squash(sampler(observation, noise[None]))
            expected_q = q_target(observation, action[None])
        torch.testing.assert_close(action, expected[0], atol=1e-9, rtol=0)
        torch.testing.assert_close(q, expected_q[0], atol=1e-9, rtol=1e-9)


def test_what_acts_is_a_copy():
    learner = _learner(2)
    acting = Candidates(learner.sampler, learner.q_target)
    before = [parameter.clone() for parameter in acting.parameters()]
    for network in (learner.sampler, learner.q_target):
        for parameter in network.parameters():
            parameter.data.zero_()
    for kept, parameter in zip(before, acting.parameters()):
        torch.testing.assert_close(kept, parameter)


def test_the_exported_graph_has_few_operators(task):
    scaling = Scaling(task.spec.observation_offset, task.spec.observation_scale)
    learner = Learner(AlgorithmConfig(), scaling, task.spec.action_size, 0)
    graph = onnx.load_from_string(export_policy(learner, task.spec, 1, "")[0]).graph
    assert _operators(graph, ["action"]) < 50  # what a sample takes
    assert sum(node.op_type not in ("Constant", "Identity") for node in graph.node) < 70


def _operators(graph, names: list[str]) -> int:
    """On the way to these tensors."""
    makers = {name: node for node in graph.node for name in node.output}
    found, open_names = {}, list(names)
    while open_names:
        node = makers.get(open_names.pop())
        if node is not None and node.output[0] not in found:
            found[node.output[0]] = node
            open_names += node.input
    return sum(node.op_type not in ("Constant", "Identity") for node in found.values())
