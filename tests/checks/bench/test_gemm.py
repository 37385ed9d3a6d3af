"""The products of an update: counted against closed forms, replayed with the layout that
they had.
"""

import math

import pytest
import torch

from sql_ros.checks.bench import gemm
from sql_ros.checks.bench.implementations import UpdateProblem, ours, port

B, S, H, O = 32, 5, 16, 3  # noqa: E741


def _mlp():
    return torch.nn.Sequential(torch.nn.Linear(S, H), torch.nn.ReLU(), torch.nn.Linear(H, O))


def test_flops_of_an_mlp_are_the_closed_form_forward_and_backward():
    network, data = _mlp(), torch.randn(B, S)
    forward = gemm.record(lambda: network(data))
    both = gemm.record(lambda: network(data).sum().backward())
    assert gemm.flops(forward) == 2 * B * (S * H + H * O)
    # backward: the gradient of each weight, and of the hidden layer; none of the data
    assert gemm.flops(both) == 2 * gemm.flops(forward) + 2 * B * H * O


def test_inference_mode_batches_and_half_precision_are_counted_alike():
    network, data = _mlp(), torch.randn(4, B // 4, S)

    def infer():
        with torch.inference_mode():
            network(data)

    assert gemm.flops(gemm.record(infer)) == 2 * B * (S * H + H * O)
    half = gemm.record(lambda: network.bfloat16()(data.bfloat16()))
    assert gemm.flops(half) == 2 * B * (S * H + H * O)
    assert {product.dtype for product in half} == {"bfloat16"}


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        (lambda: torch.randn(4, 2, 5) @ torch.randn(4, 5, 3), 2 * 4 * 2 * 5 * 3),
        (
            lambda: torch.baddbmm(torch.randn(4, 2, 3), torch.randn(4, 2, 5), torch.randn(4, 5, 3)),
            2 * 4 * 2 * 5 * 3,
        ),
        (
            lambda: torch.einsum("bkm,bka->bma", torch.randn(4, 5, 2), torch.randn(4, 5, 3)),
            2 * 4 * 2 * 5 * 3,
        ),
        (
            lambda: torch.mm(torch.randn(2, 5), torch.randn(5, 3), out=torch.empty(2, 3)),
            2 * 2 * 5 * 3,
        ),
        (lambda: torch.randn(6, 5) @ torch.randn(5), 2 * 6 * 5),
    ],
    ids=["bmm", "baddbmm", "einsum", "out", "mv"],
)
def test_every_kind_of_product_is_counted_and_can_be_replayed(product, expected):
    products = gemm.record(product)
    assert gemm.flops(products) == expected
    assert math.isfinite(gemm.limit_seconds(products, repeats=1))


def test_the_layout_is_part_of_a_product():
    left, right = torch.randn(4, 5), torch.randn(5, 3)
    products = gemm.record(lambda: (left @ right, left @ torch.randn(3, 5).t(), left @ right))
    assert products[0] == products[2] != products[1]
    assert len(gemm.timings(products, repeats=1)) == 2


def test_fresh_tensors_have_the_layout_that_was_recorded():
    for original in (
        torch.randn(4, 5).t(),
        torch.randn(5).expand(4, 5),
        torch.randn(3, 4, 5).permute(2, 0, 1),
        torch.randn(4, 5).bfloat16(),
    ):
        fresh = gemm._random_tensor(gemm._without_values(original))
        assert (fresh.shape, fresh.stride(), fresh.dtype) == (
            original.shape,
            original.stride(),
            original.dtype,
        )


def test_the_products_of_the_published_update_are_those_of_its_equations():
    """First layers, once per state or particle; hidden layers and outputs per particle.

    Backward twice that, but for what needs none.
    """
    problem = UpdateProblem(
        batch=6,
        width=8,
        value_particles=4,
        kernel_particles=10,
        observation_size=5,
        action_size=3,
        transitions=50,
    )
    b, h, k_v, k, s, a = 6, 8, 4, 5, 5, 3
    m = 5
    value = b * s * h + k_v * a * h + b * k_v * (h * h + h)
    # forward, weights, hidden layers
    q = b * (s * h + a * h + h * h + h) + b * (s * h + a * h + h * h + h) + b * (h * h + h)
    sampler = b * s * h + b * (k + m) * (a * h + h * h + h * a)
    sampler_back = sampler + b * (k + m) * (h * h + h * a)
    # forward, then to the actions only
    score = b * s * h + b * k * (a * h + h * h + h) + b * k * (a * h + h * h + h)
    implementation = port(problem)
    products = gemm.record(lambda: implementation.run(1))
    assert gemm.flops(products) == 2 * (value + q + sampler + sampler_back + score)


def test_an_update_of_ours_replays_product_by_product():
    implementation = ours(
        UpdateProblem(batch=8, width=16, value_particles=8, kernel_particles=8, transitions=50)
    )
    products = gemm.record(lambda: implementation.run(1))
    times = gemm.timings(products, repeats=1)
    assert set(times) == set(products)
    assert all(math.isfinite(seconds) and seconds > 0 for seconds in times.values())
    assert set(gemm.largest_gflops(products, repeats=1)) == {product.dtype for product in products}
