"""The update of the published soft Q-learning code, ported to plain PyTorch: a baseline for speed.

As the published code does, the port differs from `learning.learner` on purpose:

- There is one Q-network. Hard copies of it are the target.
- The value particles are uniform. One set per update is shared by the states.
- Stein's kernel and score are of actions, instead of the values before the tanh.
- The optimiser is torch's default Adam.
- 1 / alpha is multiplied into the rewards.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from sql_ros.learning.replay import Batch

LEARNING_RATE = 3e-4
DISCOUNT = 0.99
TARGET_PERIOD = 1000  # updates between two copies
SMALLEST_BANDWIDTH = 1e-3
JACOBIAN_FLOOR = 1e-6


class AddedInputs(nn.Module):
    """Network of two hidden ReLU layers with two inputs, a state (..., S) and a vector (..., A).

    Each input enters by a linear map of its own. The first hidden layer is the ReLU of the sum of
    both.

    Args:
        state_size: Numbers in a state, S.
        vector_size: Numbers in a vector, A.
        width: Units of both hidden layers.
        output_size: Numbers in the output, O.
        generator: Random generator of the weights (Xavier uniform; biases are zero).
    """

    def __init__(
        self,
        state_size: int,
        vector_size: int,
        width: int,
        output_size: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.from_state = nn.Linear(state_size, width)
        self.from_vector = nn.Linear(vector_size, width, bias=False)
        self.hidden = nn.Linear(width, width)
        self.output = nn.Linear(width, output_size)
        for layer in (self.from_state, self.from_vector, self.hidden, self.output):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, state: Tensor, vector: Tensor) -> Tensor:
        """Map states (..., S) and vectors (..., A), whose leading dimensions broadcast, to outputs
        (..., O).
        """
        first = torch.relu(self.from_state(state) + self.from_vector(vector))
        output: Tensor = self.output(torch.relu(self.hidden(first)))
        return output


def kernel(fixed: Tensor, updated: Tensor) -> tuple[Tensor, Tensor]:
    """Return the RBF kernel with median bandwidth, and its gradient with respect to the fixed
    particles.

    Args:
        fixed: Fixed particles (B, K, A), K at least 2.
        updated: Updated particles (B, M, A).

    Returns:
        The kernel (B, K, M), and its gradient (B, K, M, A). Each state has its own bandwidth, at
        least `SMALLEST_BANDWIDTH`.
    """
    difference = fixed[:, :, None, :] - updated[:, None, :, :]
    squared = difference.pow(2).sum(-1)
    median = squared.flatten(1).median(1).values
    bandwidth = torch.clamp(median / math.log(fixed.shape[1]), min=SMALLEST_BANDWIDTH)[
        :, None, None
    ]
    value = torch.exp(-squared / bandwidth)
    return value, -2.0 * difference / bandwidth[..., None] * value[..., None]


class PublishedSql:
    """Networks, optimisers and the update of the published code.

    Args:
        observation_size: Numbers in an observation, S.
        action_size: Numbers in an action, A.
        width: Units of both hidden layers (published: 128).
        value_particles: Uniform actions for the soft value, K_V (published: 16).
        kernel_particles: Particles per state; half stay fixed (rounded up), the others are updated
            (published: 16).
        seed: Seed of weights and draws.
        reward_scale: 1 / alpha.

    Attributes:
        q: Q-network, observation and action to (..., 1).
        sampler: Network of observation and noise to the action before the tanh.
        target: Copy of `q` of the last multiple of `TARGET_PERIOD` updates.
        updates: Updates made.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        width: int = 128,
        value_particles: int = 16,
        kernel_particles: int = 16,
        seed: int = 0,
        reward_scale: float = 1.0,
    ) -> None:
        self.action_size = action_size
        self.value_particles = value_particles
        self.kernel_particles = kernel_particles
        self.reward_scale = reward_scale
        self.updates = 0
        self._generator = torch.Generator().manual_seed(seed)
        self.q = AddedInputs(observation_size, action_size, width, 1, self._generator)
        self.sampler = AddedInputs(
            observation_size, action_size, width, action_size, self._generator
        )
        self.target = copy.deepcopy(self.q)
        self._q_optimizer = torch.optim.Adam(self.q.parameters(), lr=LEARNING_RATE)
        self._sampler_optimizer = torch.optim.Adam(self.sampler.parameters(), lr=LEARNING_RATE)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Make one gradient step on Q and one on the sampler; every `TARGET_PERIOD` updates copy Q
        to the target.

        Args:
            batch: B transitions as NumPy arrays.

        Returns:
            The loss of Q before the step by "q_loss": a scalar, detached.
        """
        observation = torch.from_numpy(batch.observation)
        q_loss = self._q_loss(batch, observation)
        self._q_optimizer.zero_grad()
        q_loss.backward()  # type: ignore[no-untyped-call]
        self._q_optimizer.step()
        updated, direction = self._stein(observation)
        self._sampler_optimizer.zero_grad()
        # [SQL17] Eq. 14: the direction goes through the network, uphill
        updated.backward(gradient=-direction)  # type: ignore[no-untyped-call]
        self._sampler_optimizer.step()
        self.updates += 1
        if self.updates % TARGET_PERIOD == 0:
            self.target.load_state_dict(self.q.state_dict())
        return {"q_loss": q_loss.detach()}

    def act(self, observation: Tensor, count: int) -> Tensor:
        """Draw actions of the present policy.

        Args:
            observation: Observations (B, S).
            count: Actions per observation, K.

        Returns:
            Actions (B, K, A) in (-1, 1), with their graph.
        """
        noise = torch.randn(len(observation), count, self.action_size, generator=self._generator)
        action: Tensor = self.sampler(observation[:, None, :], noise)
        return torch.tanh(action)

    def _q_loss(self, batch: Batch, observation: Tensor) -> Tensor:
        """Return half the mean squared soft Bellman error of a batch: a scalar with its graph.

        Args:
            batch: B transitions.
            observation: Observations of the batch as a tensor (B, S).
        """
        with torch.no_grad():
            probes = (
                2.0
                * torch.rand(1, self.value_particles, self.action_size, generator=self._generator)
                - 1.0
            )
            q_next = self.target(
                torch.from_numpy(batch.next_observation)[:, None, :], probes
            ).squeeze(-1)  # (B, K_V)
            # [SQL17] Eq. 10 with alpha = 1; a uniform proposal has density 2^-A
            value = (
                torch.logsumexp(q_next, 1)
                - math.log(self.value_particles)
                + self.action_size * math.log(2.0)
            )
            bootstrap = (1.0 - torch.from_numpy(batch.terminated)) * DISCOUNT * value
            target = self.reward_scale * torch.from_numpy(batch.reward) + bootstrap
        # [SQL17] Eq. 11
        q = self.q(observation, torch.from_numpy(batch.action)).squeeze(-1)
        loss: Tensor = 0.5 * (target - q).pow(2).mean()
        return loss

    def _stein(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Draw particles and compute the direction in which Stein's method moves the updated ones.

        Args:
            observation: Observations (B, S).

        Returns:
            The updated particles (B, M, A) with their graph to the sampler, and the direction of
            each (B, M, A), which raises the soft Q-value and spreads the particles.
        """
        action = self.act(observation, self.kernel_particles)
        fixed_count = self.kernel_particles - self.kernel_particles // 2
        fixed = action[:, :fixed_count].detach().requires_grad_(True)  # (B, K, A)
        updated = action[:, fixed_count:]  # (B, M, A)
        log_jacobian = torch.log(1.0 - fixed.pow(2) + JACOBIAN_FLOOR).sum(-1)
        log_density = self.q(observation[:, None, :], fixed).squeeze(-1) + log_jacobian  # (B, K)
        score = torch.autograd.grad(log_density.sum(), fixed)[0]
        value, gradient = kernel(fixed.detach(), updated.detach())
        # [SQL17] Eq. 13
        return updated, (value[..., None] * score[:, :, None, :] + gradient).mean(1)
