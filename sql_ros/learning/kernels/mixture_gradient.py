"""The gradient of the mixture sampler's log density, written by hand.

Autograd over the plain formulas of `learning/mixture.py` computes the same with more operators.
The order of the dimensions is chosen so that sums over Gaussians and over components of the action
are sums of rows. Letters: `sql_ros.learning`. O is the size of the network's output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sql_ros.learning.kernels.torch_private import tanh_backward
from sql_ros.learning.squash import log_volume

# (log weight (B, C), mean (B, C, A), log scale (B, C, A), shear (B, A, A)) of a mixture, or the
# gradients by them; see `learning.mixture.Mixture`
Fields = tuple[Tensor, Tensor, Tensor, Tensor]


@torch.no_grad()
def log_density_with_backward(
    fields: Fields, latent: Tensor
) -> tuple[Tensor, Callable[[Tensor], Fields]]:
    """Evaluate the log density of the actions squash(u) under a mixture, and return its derivative.

    Args:
        fields: Fields of the mixture.
        latent: Latents u, (B, K, A).

    Returns:
        The log density of each action (B, K), and its backward function: from the gradient of a
        loss by the log density (B, K) to the gradients of this loss by the four fields.
    """
    log_weight, mean, log_scale, shear = fields
    y = torch.bmm(shear, latent.transpose(1, 2))  # (B, A, K)
    precision = log_scale.mul(-2.0).exp_()  # (B, C, A)
    precision_mean = precision * mean  # (B, C, A)
    # log weight - sum_d (log scale_d + 1/2 ((y_d - mean_d) / scale_d)^2), multiplied out, so that
    # all pairs of a Gaussian and a point are one product
    constant = log_weight - torch.addcmul(log_scale, precision_mean, mean, value=0.5).sum(-1)
    powers = torch.cat([y.square().mul_(-0.5), y], dim=1)  # (B, 2 A, K)
    coefficients = torch.cat([precision, precision_mean], dim=-1)  # (B, C, 2 A)
    log_joint = torch.baddbmm(constant.unsqueeze(-1), coefficients, powers)  # (B, C, K)
    log_share = torch.log_softmax(log_joint, dim=1)  # of each Gaussian in the sum, (B, C, K)
    # log_joint - log_share is the log of the sum, whichever the Gaussian. It is averaged over the
    # Gaussians by their share, because for a Gaussian far away it is a difference of large numbers
    log_sum = log_joint.sub_(log_share)
    share = log_share.exp_()
    log_sum = log_sum.mul_(share).sum(1)  # (B, K)
    # the squash's Jacobian contains log N(u; 0, I), whose normaliser cancels those of the Gaussians
    log_density = torch.add(log_sum, latent.square().sum(-1), alpha=0.5).sub_(
        log_volume(latent.shape[-1])
    )

    @torch.no_grad()
    def backward(gradient: Tensor) -> Fields:
        """Return the gradients by the fields, given the gradient by the log density (B, K)."""
        by_joint = share * gradient.unsqueeze(1)  # (B, C, K)
        by_weight = by_joint.sum(-1)  # (B, C)
        mass = by_weight.unsqueeze(-1)  # (B, C, 1)
        # sums over the points of -y^2 / 2 and of y, each weighted by by_joint, (B, C, A)
        sum_square, sum_y = torch.bmm(by_joint, powers.transpose(1, 2)).chunk(2, dim=-1)
        sum_deviation = torch.addcmul(sum_y, mass, mean, value=-1.0)  # of y - mean
        by_mean = precision * sum_deviation
        # sum of -(y - mean)^2 / 2
        sum_square = torch.addcmul(sum_square, mean, sum_deviation.add_(sum_y), value=0.5)
        by_scale = torch.addcmul(-mass, precision, sum_square, value=-2.0)
        # gradients by -y^2 / 2 and by y, (B, A, K)
        by_square, by_y = torch.bmm(coefficients.transpose(1, 2), by_joint).chunk(2, dim=1)
        by_y = torch.addcmul(by_y, by_square, y, value=-1.0)
        by_shear = torch.bmm(by_y, latent)
        return by_weight, by_mean, by_scale, by_shear

    return log_density, backward


@torch.no_grad()
def parameters_with_backward(
    head: Tensor, sizes: Sequence[int], identity: Tensor, placement: Tensor, widest: float
) -> tuple[Fields, Callable[[Fields], Tensor]]:
    """Compute the fields of a mixture from the output of its network, and return the derivative.

    Args:
        head: Output of the network, (B, O).
        sizes: Sizes of the parts of `head`: logits, means, log scales, entries of R below the
            diagonal.
        identity: Identity matrix (A, A).
        placement: Result of `learning.mixture.placement_below_diagonal`, (A (A - 1) / 2, A A).
        widest: Bound of the absolute log scale.

    Returns:
        The fields, and their backward function: from the gradients of a loss by the fields to the
        gradient of this loss by `head` (B, O).
    """
    logit, mean, log_scale, below = torch.split(head, list(sizes), dim=-1)
    shape = (len(head), sizes[0], identity.shape[0])
    bounded = log_scale.div(widest).tanh_()
    log_weight = torch.log_softmax(logit, dim=-1)
    shear = torch.addmm(identity.view(1, -1), below, placement).view(len(head), *identity.shape)

    @torch.no_grad()
    def backward(gradients: Fields) -> Tensor:
        """Return the gradient by `head` (B, O), given the gradients by the fields."""
        by_weight, by_mean, by_scale, by_shear = gradients
        parts = [
            by_weight - log_weight.exp() * by_weight.sum(-1, keepdim=True),
            by_mean.reshape(len(head), -1),
            tanh_backward(by_scale.reshape(bounded.shape), bounded),
            by_shear.reshape(len(head), -1) @ placement.t(),
        ]
        return torch.cat(parts, dim=-1)

    fields = log_weight, mean.reshape(shape), (widest * bounded).view(shape), shear
    return fields, backward
