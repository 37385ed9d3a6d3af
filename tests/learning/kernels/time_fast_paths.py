"""Time an update with each fast path replaced by its plain form.

    python tests/learning/kernels/time_fast_paths.py --batch 64 --width 128 --value-particles 8

The updates of all forms are interleaved, each form on learners of its own, and the processor time
of every update is taken. On a machine with other load the lower quantiles tell most. "unchanged" is
the code as it is a second time: its ratio shows the scatter. Not measured here, for want of the
hardware: bfloat16 (`sql-ros bench learner`: ours_float32 beside ours_bfloat16) and CUDA graphs.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from sql_ros.checks.bench.implementations import UpdateProblem
from sql_ros.learning import learner as learner_module
from sql_ros.learning import mixture as mixture_module
from sql_ros.learning import networks
from sql_ros.learning.kernels import linear_kernels
from sql_ros.learning.learner import Learner

QUANTILES = (0.1, 0.25, 0.5)
COPIES = 4  # learners of each form: where in memory one lies changes its speed by some percent


class PlainMlp(nn.Module):
    """N networks of `nn.Linear`, differentiated by autograd: the plain form of `flat_mlp.Mlp`."""

    def __init__(
        self,
        members: int,
        sizes: Sequence[int],
        generator: torch.Generator,
        *,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        assert not layer_norm
        self.networks = nn.ModuleList()
        for _ in range(members):
            layers: list[nn.Module] = []
            for inputs, outputs in itertools.pairwise(sizes):
                layers += [nn.Linear(inputs, outputs), nn.ReLU()]
            self.networks.append(nn.Sequential(*layers[:-1]))

    def forward(self, rows: Tensor, *, frozen: bool = False) -> Tensor:
        return torch.stack([network(rows) for network in self.networks])

    def forward_with_backward(self, rows: Tensor) -> tuple[Tensor, Callable[[Tensor], Any]]:
        with torch.enable_grad():
            result = self(rows)
        parameters = list(self.parameters())
        return result.detach(), lambda gradient: torch.autograd.grad(result, parameters, gradient)


class PlainEvaluator:
    """The plain form of `TargetQEvaluator` on a `PlainMlp`."""

    def __init__(self, source: networks.TwinQ, precision: torch.dtype) -> None:
        self._source = source

    def copy_weights(self) -> None:
        pass

    @torch.no_grad()
    def each_at_its_share(self, observation: Tensor, action: Tensor) -> Tensor:
        results = []
        for network, share in zip(self._source.mlp.networks, action.unbind(1)):
            states = self._source.scaled(observation).unsqueeze(1).expand(-1, share.shape[1], -1)
            results.append(network(torch.cat([states, share], dim=-1)).squeeze(-1))
        return torch.stack(results, dim=1)


class PlainAdam:
    """Adam by `torch.optim.Adam`; a gradient may be a tuple, of several parameters."""

    def __init__(self, groups: Any) -> None:
        groups = [{"params": list(parameters), "lr": rate} for parameters, rate in groups]
        self._parameters = [parameter for group in groups for parameter in group["params"]]
        self._optimizer = torch.optim.Adam(groups, fused=True)

    def step(self, gradients: Any) -> None:
        flat = [
            part
            for gradient in gradients
            for part in (gradient if isinstance(gradient, tuple) else (gradient,))
        ]
        for parameter, gradient in zip(self._parameters, flat):
            parameter.grad = gradient
        self._optimizer.step()


@torch.no_grad()
def _move_plain_target(learner: Learner) -> None:
    torch._foreach_lerp_(
        list(learner.q_target.parameters()),
        list(learner.q.parameters()),
        learner.config.target_rate,
    )


def _without_flat_mlp(problem: UpdateProblem) -> Learner:
    with (
        patch.object(networks, "Mlp", PlainMlp),
        patch.object(learner_module, "TargetQEvaluator", PlainEvaluator),
        patch.object(learner_module, "Adam", PlainAdam),
        patch.object(mixture_module.MixtureNetwork, "_spread_components", lambda *_: None),
    ):
        learner = problem.learner({})
    learner._move_target = lambda: _move_plain_target(learner)
    learner._needs_no_autograd = False
    return learner


class PlainMixture(mixture_module.Mixture):
    """The plain form of the log density's gradient: by autograd."""

    def log_density_with_backward(self, latent: Tensor) -> tuple[Tensor, Any]:
        with torch.enable_grad():
            density = self.log_density(latent)
        return density.detach(), lambda gradient: (density, gradient)


def _without_mixture_gradient(problem: UpdateProblem) -> Learner:
    learner = problem.learner({})
    weights = learner.sampler.mlp.flat

    def distribution_with_backward(observation: Tensor) -> tuple[PlainMixture, Any]:
        with torch.enable_grad():
            mixture = learner.sampler.distribution(observation)

        def backward(density_and_gradient: tuple[Tensor, Tensor]) -> Tensor:
            density, gradient = density_and_gradient
            return torch.autograd.grad(density, weights, gradient)[0]

        return PlainMixture(*mixture), backward

    learner.sampler.distribution_with_backward = distribution_with_backward
    learner._needs_no_autograd = False
    return learner


def _without_fused_adam(problem: UpdateProblem) -> Learner:
    with patch.object(learner_module, "Adam", PlainAdam):
        return problem.learner({})


def _without_inference_mode(problem: UpdateProblem) -> Learner:
    learner = problem.learner({})
    learner._needs_no_autograd = False
    return learner


FORMS: dict[str, Callable[[UpdateProblem], Learner]] = {
    "as it is": lambda problem: problem.learner({}),
    "unchanged": lambda problem: problem.learner({}),
    "without inference mode": _without_inference_mode,
    "without mixture_gradient": _without_mixture_gradient,
    "without fused_adam": _without_fused_adam,
    "without flat_mlp": _without_flat_mlp,
    "with oneDNN": lambda problem: problem.learner({}),
    "without oneDNN": lambda problem: problem.learner({}),
}


@contextmanager
def _onednn(form: str) -> Iterator[None]:
    """Use oneDNN, or do not use it, in the two forms that are about it."""
    default = linear_kernels._HAS_FAST_ONEDNN
    wanted = {"with oneDNN": True, "without oneDNN": False}.get(form, default)
    with patch.object(linear_kernels, "_HAS_FAST_ONEDNN", wanted):
        yield


def main() -> None:
    """Time all forms in turns and print quantiles of the processor time of an update [ms]."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--value-particles", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=80)
    parser.add_argument("--updates", type=int, default=5, help="of each form in a round")
    args = parser.parse_args()
    torch.set_num_threads(1)
    problem = UpdateProblem(
        batch=args.batch, width=args.width, value_particles=args.value_particles
    )
    learners = {form: [create(problem) for _ in range(COPIES)] for form, create in FORMS.items()}
    replay, rng = problem.buffer(), np.random.default_rng(0)
    times: dict[str, list[float]] = {form: [] for form in FORMS}
    for turn in range(args.rounds + 1):
        for form in list(FORMS) if turn % 2 else reversed(FORMS):
            with _onednn(form):
                for update in range(args.updates + 1):
                    batch = replay.sample(problem.batch, rng)
                    began = time.process_time()
                    learners[form][turn % COPIES].step(batch)
                    if turn and update:  # the first fills the caches
                        times[form].append(time.process_time() - began)
        if turn and turn % 12 == 0:
            _report(times)


def _report(times: dict[str, list[float]]) -> None:
    """Print the quantiles of every form [ms], and their ratios to the code as it is."""
    quantiles = {form: 1e3 * np.quantile(values, QUANTILES) for form, values in times.items()}
    print(f"\n{len(times['as it is'])} updates of each form; quantiles {QUANTILES}")
    for form, values in quantiles.items():
        ratios = values / quantiles["as it is"]
        print(f"{form:26}", *(f"{value:8.3f}" for value in values), "ms ", end="")
        print(*(f"{ratio:6.3f}" for ratio in ratios), flush=True)


if __name__ == "__main__":
    main()
