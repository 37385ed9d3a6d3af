"""Adam by torch's operator against torch's own class."""

import subprocess
import sys

import pytest
import torch

from sql_ros.learning.kernels.fused_adam import Adam


def _networks(count: int = 2) -> list[torch.nn.Linear]:
    networks = []
    for _ in range(count):
        torch.manual_seed(0)
        networks.append(torch.nn.Linear(5, 3))
    return networks


def _loss(network: torch.nn.Linear, i: int) -> torch.Tensor:
    batch = torch.randn(16, 5, generator=torch.Generator().manual_seed(i))
    return (network(batch) - batch[:, :3].sin()).square().mean()


def _descend(optimizer: Adam, network: torch.nn.Linear, loss: torch.Tensor) -> None:
    optimizer.step(torch.autograd.grad(loss, list(network.parameters()), allow_unused=True))


def test_every_step_is_that_of_torch_s_class_to_the_bit() -> None:
    ours, theirs = _networks()
    mine = Adam([([ours.weight], 1e-2), ([ours.bias], 1e-3)])
    reference = torch.optim.Adam(
        [{"params": [theirs.weight], "lr": 1e-2}, {"params": [theirs.bias], "lr": 1e-3}], fused=True
    )
    for i in range(50):
        _descend(mine, ours, _loss(ours, i))
        reference.zero_grad()
        _loss(theirs, i).backward()
        reference.step()
        assert torch.equal(ours.weight, theirs.weight)
        assert torch.equal(ours.bias, theirs.bias)


def test_a_parameter_without_gradient_stays() -> None:
    (network,) = _networks(1)
    before = network.bias.detach().clone()
    optimizer = Adam([(network.parameters(), 1e-2)])
    _descend(optimizer, network, network.weight.square().sum())
    assert torch.equal(network.bias, before)
    assert optimizer.state_dict()["1"]["step"] == 0


def test_what_was_saved_goes_on_to_the_bit() -> None:
    ours, other = _networks()
    first = Adam([(ours.parameters(), 1e-2)])
    for i in range(5):
        _descend(first, ours, _loss(ours, i))
    saved = {
        key: {name: tensor.clone() for name, tensor in values.items()}
        for key, values in first.state_dict().items()
    }
    other.load_state_dict(ours.state_dict())
    second = Adam([(other.parameters(), 1e-2)])
    second.load_state_dict(saved)
    _descend(first, ours, _loss(ours, 9))
    _descend(second, other, _loss(other, 9))
    assert torch.equal(ours.weight, other.weight)


def test_state_of_another_network_is_refused() -> None:
    (network,) = _networks(1)
    optimizer = Adam([(network.parameters(), 1e-2)])
    with pytest.raises(KeyError):
        optimizer.load_state_dict({"0": optimizer.state_dict()["0"]})
    with pytest.raises(RuntimeError):
        optimizer.load_state_dict(Adam([(torch.nn.Linear(7, 3).parameters(), 1e-2)]).state_dict())


def test_a_learner_starts_and_updates_without_torch_s_compiler() -> None:
    script = """
import sys
import numpy as np
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.policy.transition import Transition
from sql_ros.learning.trainer import Trainer
from sql_ros.robot.tasks import load_task
spec = load_task("sawyer_reach").spec
trainer = Trainer(spec, TrainerConfig(warmup_transitions=1), AlgorithmConfig(), 0)
observation = np.zeros(spec.observation_size, np.float32)
for _ in range(2):
    action = np.zeros(spec.action_size, np.float32)
    trainer.add(Transition(observation, action, 0.0, observation, False, False))
trainer.update()
trainer.learner.load_state_dict(trainer.learner.state_dict())
trainer.export()
sys.exit("torch._dynamo is imported" if "torch._dynamo" in sys.modules else 0)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
