"""The measurement at tiny sizes: every figure is there and is a number.

How large it is, no test says.
"""

import math
import sys

import pytest
import torch

from sql_ros.checks.bench import sb3
from sql_ros.checks.bench.costs import buffer_costs
from sql_ros.checks.bench.implementations import UpdateProblem
from sql_ros.checks.bench.learner import measure_learner, torch_threads
from sql_ros.checks.bench.report import figures, table
from sql_ros.checks.bench.sweep import Line, sweep, sweep_figures, sweep_table
from sql_ros.common.errors import ConfigError

TINY = UpdateProblem(batch=8, width=16, value_particles=8, kernel_particles=8, transitions=100)
ALWAYS = [
    "updates_per_s",
    "ratio_vs_port",
    "gemm_fraction",
    "updates_per_s_port",
    "gflop_per_update_port",
    "gflop_per_update_ours",
]
SHARES = ["sampling_share", "adding_share", "buffer_bytes"]


def _measure(**options):
    sizes = {"batch": 8, "width": 16, "value_particles": 8, "kernel_particles": 8, "threads": 1}
    return measure_learner(**{**sizes, "repeats": 2, "seconds_per_repeat": 0.01, **options})


def test_threads_are_as_before_also_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ConfigError):
        _fail_with_threads(before + 1)
    assert torch.get_num_threads() == before


def _fail_with_threads(count):
    with torch_threads(count):
        assert torch.get_num_threads() == count
        raise ConfigError("on purpose")


def test_figures_without_sac_are_all_finite():
    variants = {"ours": {}, "uniform": {"value_proposal": "uniform"}}
    result = _measure(variants=variants, with_sb3=False)
    values = figures(result)
    assert set(ALWAYS + SHARES + ["updates_per_s_uniform", "ratio_vs_port_uniform"]) <= set(values)
    assert all(math.isfinite(value) and value >= 0 for value in values.values())
    assert all(f"| {name}" in table(result) for name in ("ours", "uniform", "port"))


def test_figures_with_sac_compare_ours_to_it():
    values = figures(_measure())
    assert set(
        [*ALWAYS, *SHARES, "ratio_vs_sb3_sac", "updates_per_s_sb3_sac", "gflop_per_update_sb3_sac"]
    ) <= set(values)
    assert all(math.isfinite(value) and value >= 0 for value in values.values())


def test_sacs_own_steps_change_its_critic_and_draw_from_the_transitions_given():
    model = sb3.build_sac(TINY.arrays(), TINY.width, TINY.batch, seed=0)
    before = [parameter.clone() for parameter in model.critic.parameters()]
    assert math.isfinite(sb3.seconds_per_update(model, 2, TINY.batch))
    assert any(not torch.equal(a, b) for a, b in zip(before, model.critic.parameters()))
    rewards = set(TINY.arrays()["reward"].tolist())
    assert set(model.replay_buffer.sample(16).rewards.flatten().tolist()) <= rewards


def test_without_stable_baselines3_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(ConfigError, match=r"pip install 'sql_ros\[bench\]'"):
        sb3.build_sac(TINY.arrays(), TINY.width, TINY.batch, seed=0)


def test_a_replay_buffer_is_measured_full():
    costs = buffer_costs(batch=4, observation_size=3, action_size=2, capacity=50, repeats=1)
    assert costs.nbytes == 50 * 4 * (2 * 3 + 2 + 2)
    assert costs.sample_seconds > 0
    assert costs.add_seconds > 0


def test_a_straight_line_fits_itself():
    line = Line("batch", (64, 128, 256), (2.0, 3.0, 5.0), (1.5, 5 / 3))
    assert line.fit == pytest.approx((1.0, 1 / 64, 1.0))


def test_a_sweep_measures_every_size():
    lines = sweep(
        TINY, value_particles=(6, 12), batches=(4, 8), threads=1, repeats=1, seconds_per_repeat=0.01
    )
    assert [(line.name, line.sizes, len(line.doubling)) for line in lines] == [
        ("value_particles", (6, 12), 1),
        ("batch", (4, 8), 1),
    ]
    assert all(math.isfinite(value) for value in sweep_figures(lines).values())
    assert "R^2" in sweep_table(lines)
