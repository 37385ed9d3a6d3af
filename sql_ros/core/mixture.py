"""The sampler of known density: a Gaussian mixture before the squash, whose parameters are computed once per state."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sql_ros.core.networks import Scaling, StateActionNetwork
from sql_ros.core.squash import ROOT_HALF, log_volume

WIDEST_LOG_SCALE = 4.0  # of a component: standard deviations between exp(-4) and exp(4)
FIRST_VARIANCE = 0.5  # of the components at the start; their means are spread with the rest, so that all is about N(0, I), uniform actions

Back = Callable[..., tuple[Tensor, ...]]  # from the gradients by what a function gave to those by what it was given


class Mixture(NamedTuple):
    """C Gaussians per state in the coordinates y = R u, where they have no correlations; R is unit lower triangular, one per state.

    The correlation between the components of the action is learned once per state and not once per Gaussian: a narrow ridge is then found
    quickly, and the density of K points under C Gaussians is one product of size C x 2 A x K.
    """

    log_weight: Tensor  # (B, C)
    mean: Tensor  # of y, (B, C, A)
    log_scale: Tensor  # log standard deviation of y, (B, C, A)
    shear: Tensor  # R, (B, A, A)

    def log_density(self, latent: Tensor) -> Tensor:
        """Log density of the actions squash(u): (B, K, A) -> (B, K). By autograd; `with_gradient` does without."""
        density: Tensor = ByHand.apply(lambda latent, *fields: Mixture(*fields).with_gradient(latent, by_latent=True), latent, *self)  # type: ignore[no-untyped-call]
        return density

    @torch.no_grad()
    def with_gradient(self, latent: Tensor, *, by_latent: bool = False) -> tuple[Tensor, Back]:
        """Log density of the actions squash(u), and how to go back.

        Args:
            latent: u, (B, K, A).
            by_latent: the gradient by the latents is asked for, too.

        Returns:
            (B, K), and from its gradient to those by every field of the mixture, behind that by the latents if asked for.
        """
        log_weight, mean, log_scale, shear = self
        # points last: sums over Gaussians and over components of the action are then sums of rows
        u = latent.transpose(1, 2)
        y = torch.bmm(shear, u)  # (B, A, K)
        precision = log_scale.mul(-2.0).exp_()  # (B, C, A)
        slope = precision * mean
        # -1/2 sum_d ((y_d - mean_d) / scale_d)^2, multiplied out
        constant = log_weight - torch.addcmul(log_scale, slope, mean, value=0.5).sum(-1)
        powers = torch.cat([y.square().mul_(-0.5), y], dim=1)  # (B, 2 A, K)
        coefficients = torch.cat([precision, slope], dim=-1)  # (B, C, 2 A)
        log_joint = torch.baddbmm(constant.unsqueeze(-1), coefficients, powers)  # (B, C, K)
        log_share = torch.log_softmax(log_joint, dim=1)  # of each Gaussian in the sum over C
        # every Gaussian and its share give the sum; weighed, since that of one far away is a difference of large numbers
        log_sum = log_joint.sub_(log_share)
        share = log_share.exp_()
        log_sum = log_sum.mul_(share).sum(1)  # (B, K)
        # over the squash's Jacobian, of which log N(u; 0, I) is a part: the normalisers of all these Gaussians cancel
        log_density = torch.add(log_sum, latent.square().sum(-1), alpha=0.5).sub_(log_volume(latent.shape[-1]))

        @torch.no_grad()
        def back(gradient: Tensor) -> tuple[Tensor, ...]:
            of_joint = share * gradient.unsqueeze(1)  # (B, C, K)
            of_weight = of_joint.sum(-1)  # (B, C)
            mass = of_weight.unsqueeze(-1)
            of_square, of_y = torch.bmm(of_joint, powers.transpose(1, 2)).chunk(2, dim=-1)  # sums of -y^2 / 2 and of y, (B, C, A)
            apart = torch.addcmul(of_y, mass, mean, value=-1.0)  # sum of y - mean
            of_mean = precision * apart
            of_square = torch.addcmul(of_square, mean, apart.add_(of_y), value=0.5)  # sum of -(y - mean)^2 / 2
            of_scale = torch.addcmul(-mass, precision, of_square, value=-2.0)
            by_square, by_y = torch.bmm(coefficients.transpose(1, 2), of_joint).chunk(2, dim=1)  # (B, A, K)
            of_rotated = torch.addcmul(by_y, by_square, y, value=-1.0)  # by y
            of_shear = torch.bmm(of_rotated, latent)
            of_fields = of_weight, of_mean, of_scale, of_shear
            if not by_latent:
                return of_fields
            return torch.baddbmm(gradient.unsqueeze(1) * u, shear.transpose(1, 2), of_rotated).transpose(1, 2), *of_fields

        return log_density, back

    def draw(self, noise: Tensor) -> Tensor:
        """Latents from standard normal noise: (B, K, A + 1) -> (B, K, A); the last component of the noise chooses the Gaussian."""
        white, choice = noise[..., :-1], noise[..., -1]
        level = 0.5 * (1.0 + torch.erf(choice * ROOT_HALF))  # uniform on [0, 1], (B, K)
        steps = self.log_weight.exp().cumsum(-1)[:, :-1].contiguous()  # (B, C - 1)
        first = torch.arange(0, self.log_weight.numel(), self.log_weight.shape[1], device=noise.device).unsqueeze(1)  # of each state
        chosen = (torch.searchsorted(steps, level) + first).view(-1)  # (B K,)
        mean, log_scale = (each.reshape(-1, white.shape[-1]).index_select(0, chosen).view(white.shape) for each in self[1:3])
        y = torch.addcmul(mean, log_scale.exp(), white)
        solved: Tensor = torch.linalg.solve_triangular(self.shear, y.transpose(1, 2), upper=False, unitriangular=True)  # R u = y
        return solved.transpose(1, 2)


class MixtureNetwork(StateActionNetwork):
    """The mixture as a network of the observation; given noise (B, K, A + 1) it acts like any sampling network.

    A departure from [SQL17], whose sampler is a continuous map from noise with unknown density: such a map must leave mass between two
    modes, and the Stein direction, made of scores, cannot see how much mass a mode far from the others deserves.
    """

    def __init__(
        self, scaling: Scaling, action_size: int, hidden_sizes: tuple[int, ...], components: int, generator: torch.Generator
    ) -> None:
        below = action_size * (action_size - 1) // 2
        self._sizes = [components, components * action_size, components * action_size, below]  # logits, means, log scales, R below diagonal
        super().__init__(scaling, 0, hidden_sizes, sum(self._sizes), generator)
        self.components, self.action_size, self.noise_size = components, action_size, action_size + 1
        self._identity: Tensor
        self._placement: Tensor
        self.register_buffer("_identity", torch.eye(action_size), persistent=False)
        self.register_buffer("_placement", _placement_below_diagonal(action_size), persistent=False)
        self._spread_components(generator)

    @torch.no_grad()
    def _spread_components(self, generator: torch.Generator) -> None:
        """Starts near N(0, I) for every state, that is, with uniform actions."""
        head = self.mlp.members[0][-1]
        head.weight.mul_(0.1)
        _, mean, log_scale, _ = torch.split(head.bias, self._sizes)
        mean.copy_(math.sqrt(1.0 - FIRST_VARIANCE) * torch.randn(mean.shape, generator=generator))
        log_scale.fill_(0.5 * math.log(FIRST_VARIANCE))

    def distribution(self, observation: Tensor) -> Mixture:
        """The mixture of every state: (B, S). By autograd; `with_gradient` does without."""
        return Mixture(*ByHand.apply(self.mixture, self.of_state(observation).squeeze(0)))  # type: ignore[no-untyped-call]

    def with_gradient(self, observation: Tensor) -> tuple[Mixture, Back]:
        """The mixture of every state, (B, S), and from the gradients by its fields to that by the weights, `mlp.flat`."""
        heads, to_weights = self.mlp.with_gradient(self.scaled(observation))
        mixture, to_head = self.mixture(heads[0])

        def back(*of_fields: Tensor) -> tuple[Tensor, ...]:
            return (to_weights(to_head(*of_fields)[0].unsqueeze(0)),)

        return mixture, back

    @torch.no_grad()
    def mixture(self, head: Tensor) -> tuple[Mixture, Back]:
        """From the last layer, (B, O), to the mixture, and back."""
        logit, mean, log_scale, below = torch.split(head, self._sizes, dim=-1)
        shape = (len(head), self.components, self.action_size)
        bounded = log_scale.div(WIDEST_LOG_SCALE).tanh_()
        log_weight = torch.log_softmax(logit, dim=-1)
        shear = torch.addmm(self._identity.view(1, -1), below, self._placement).view(len(head), *self._identity.shape)

        @torch.no_grad()
        def back(of_weight: Tensor, of_mean: Tensor, of_scale: Tensor, of_shear: Tensor) -> tuple[Tensor, ...]:
            parts = [
                of_weight - log_weight.exp() * of_weight.sum(-1, keepdim=True),
                of_mean.reshape(len(head), -1),
                torch.ops.aten.tanh_backward(of_scale.reshape(bounded.shape), bounded),
                of_shear.reshape(len(head), -1) @ self._placement.t(),
            ]
            return (torch.cat(parts, dim=-1),)

        return Mixture(log_weight, mean.reshape(shape), (WIDEST_LOG_SCALE * bounded).view(shape), shear), back

    def forward(self, state: Tensor, vector: Tensor) -> Tensor:
        """Maps observations (B, S) and noise (B, K, A + 1) to latents (B, K, A)."""
        return self.distribution(state).draw(vector)


class ByHand(torch.autograd.Function):
    """A function that says itself how to go back, for autograd: arguments are the function and its tensors."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., tuple[Any, Callable[..., tuple[Tensor, ...]]]], *tensors: Tensor) -> Any:
        """Its result."""
        result, ctx.back = function(*tensors)
        # what goes out is made to know its way back; what the way back holds must not be the same object, which would keep itself alive
        return tuple(each.detach() for each in result) if isinstance(result, tuple) else result.detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Back, as the function said."""
        return None, *ctx.back(*gradients)


def _placement_below_diagonal(size: int) -> Tensor:
    """Puts the entries below the diagonal, row by row, into a row-major matrix: a product with (A (A - 1) / 2, A A) ones and zeros."""
    row, column = torch.tril_indices(size, size, offset=-1)
    placement = torch.zeros(len(row), size * size)
    placement[torch.arange(len(row)), row * size + column] = 1.0
    return placement
