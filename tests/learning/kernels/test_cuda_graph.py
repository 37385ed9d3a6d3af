"""What a CUDA graph needs of an update, as far as a CPU can say.

On a GPU, that replaying changes nothing.
"""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sql_ros.common.errors import ConfigError
from sql_ros.learning.algorithm import AlgorithmConfig
from sql_ros.learning.learner import Learner
from sql_ros.learning.networks import Scaling
from sql_ros.learning.replay import Batch

SETTINGS = {
    "hidden_sizes": (16, 16),
    "batch_size": 8,
    "value_particles": 6,
    "uniform_particles": 2,
    "fixed_particles": 4,
    "updated_particles": 4,
}
VARIANTS = [
    {},
    {"sampler": "stein"},
    {"temperature_mode": "tuned"},
    {"particle_precision": "bfloat16"},
    {"layer_norm": True},
]
# need the device's answer
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal.default", "is_nonzero")


class _NoWaiting(TorchDispatchMode):
    """Fails where an operator would make the host wait for a GPU, or has an output whose size
    depends on values.
    """

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert not any(name in str(func) for name in WAITS), (
            f"{func} waits for the device: a graph cannot be captured"
        )
        return func(*args, **(kwargs or {}))


def _batch(seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    return Batch(
        *(rng.normal(size=shape).astype(np.float32) for shape in ((8, 3), (8, 2), (8,), (8, 3))),
        np.zeros(8, np.float32),
    )


def _learner(**settings) -> Learner:
    return Learner(
        AlgorithmConfig(**{**SETTINGS, **settings}), Scaling((0.0,) * 3, (1.0,) * 3), 2, seed=0
    )


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_an_update_never_waits_for_the_device(variant):
    learner = _learner(**variant)
    batch = {name: torch.from_numpy(array) for name, array in vars(_batch()).items()}
    learner._update(batch)  # optimisers make their state
    with _NoWaiting():
        learner._update(batch)


def test_waiting_would_be_noticed():
    with _NoWaiting(), pytest.raises(AssertionError, match="waits for the device"):
        torch.ones(1).item()


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_cuda_without_a_gpu_is_a_clear_error():
    with pytest.raises(ConfigError, match="torch finds no CUDA device"):
        _learner(device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_replayed_updates_learn_what_eager_ones_do(variant):
    graphed, eager = _learner(device="cuda", **variant), _learner(device="cuda", **variant)
    eager._run_update = eager._update
    for seed in range(8):
        ours, theirs = graphed.step(_batch(seed)), eager.step(_batch(seed))
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=1e-4)
