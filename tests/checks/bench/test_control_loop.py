"""The figures of `sql-ros bench actor` and `bench soak`, from the reports of a played actor.

The measurement of real nodes is in tests/test_cli.py.
"""

import os

import pytest

from sql_ros.checks.bench import soak
from sql_ros.checks.bench.control_loop import (
    RealtimeRequest,
    header,
    measure_actor,
    node_settings,
    task_at,
)
from sql_ros.checks.bench.machine import QUANTILES
from sql_ros.checks.bench.soak import measure_soak
from sql_ros.robot.model import load_model
from sql_ros.robot.tasks import load_task

NONE = RealtimeRequest(0, -1, ())
QUANTILES_US = {f"{name}_{q}_us": 10.0 for name in ("jitter", "latency") for q in QUANTILES}


def _report(received_s: float, **values: float) -> dict:
    """Return a report of an actor: 100 control steps per second, a deadline missed in ten."""
    steps = 100.0 * received_s
    counters = {
        "received_s": received_s,
        "control_steps": steps,
        "missed_deadlines": 0.1 * steps,
        "holds": 1.0,
        "policy_version": received_s,
        "transitions": steps,
        "inference_p50_us": 50.0,
        "inference_p99_us": 90.0,
        "realtime/SCHED_FIFO": "not permitted",
    }
    return {**QUANTILES_US, **counters, **values}


def test_figures_are_differences_between_the_first_and_the_last_report():
    runs = []

    def run(task, nodes, seconds, other_cpus, watch=None):
        rate = load_task(task).config.control_rate_hz
        runs.append((rate, set(nodes)))
        cpu = dict.fromkeys((*nodes, "stolen"), 1.0)
        return [_report(3.0), _report(4.0), _report(5.0, inference_p99_us=rate)], cpu

    shown: list[str] = []
    figures = measure_actor("sawyer_reach", [20.0, 50.0], 0.1, 0, NONE, run, shown.append)
    alone = {"actor", "sim_bridge"}
    beside = alone | {"learner"}
    assert runs == [(20.0, beside), (20.0, alone), (50.0, beside), (50.0, alone)]
    assert figures["steps_per_s_20"] == 100.0
    assert figures["missed_fraction_50_alone"] == pytest.approx(0.1)
    assert figures["swaps_20"] == 2.0
    assert figures["holds_20"] == 0.0
    assert figures["cpu_learner_50"] == 0.5
    assert "cpu_learner_50_alone" not in figures
    assert figures["inference_p99_us"] == figures["inference_p99_us_50"] == 50.0
    assert figures["machine_jitter_max_us_20"] >= figures["machine_jitter_p50_us_20"]
    assert len(shown) == 6
    assert "not permitted" in shown[0]
    assert "10.000 %" in shown[0]
    assert "a thread that only wakes up" in shown[2]
    assert len(header()) == pytest.approx(len(shown[0]), abs=10)


def test_a_rate_above_that_of_the_scene_shortens_its_physics_step(tmp_path):
    slow = load_task(task_at("sawyer_reach", 20.0, tmp_path))
    fast = load_task(task_at("sawyer_reach", 1000.0, tmp_path))
    before = load_model(slow.robot, slow.config.scene).opt.timestep
    assert before > 1.0 / 1000.0
    assert load_model(fast.robot, fast.config.scene).opt.timestep == pytest.approx(1.0 / 1000.0)
    assert fast.config.control_rate_hz == 1000.0


def test_the_actor_alone_gets_the_core_and_a_learner_that_never_waits():
    nodes = node_settings(100.0, "p.onnx", 3, RealtimeRequest(50, 1, (0,)), learns=True)
    assert nodes["actor"].parameters["cpu"] == 1
    assert "cpu" not in nodes["sim_bridge"].parameters
    assert nodes["sim_bridge"].parameters["realtime_priority"] == 50
    assert nodes["learner"].parameters["trainer.updates_per_transition"] == 4.0
    assert "learner" not in node_settings(100.0, "p.onnx", 3, NONE, learns=False)


def test_a_soak_compares_the_time_after_the_warm_up_with_the_end(tmp_path):
    reports = [_report(float(second), latency_p50_us=float(second)) for second in range(1, 21)]
    opened = []

    def run(task, nodes, seconds, other_cpus, watch):
        assert nodes["learner"].parameters["trainer.replay_capacity"] == soak.CAPACITY
        for number in range(20):
            watch({"actor": os.getpid()})
            if number == 10:
                opened.extend((tmp_path / str(each)).open("w") for each in range(5))
        return reports, {"actor": 10.0, "stolen": 0.0}

    shown: list[str] = []
    figures = measure_soak("sawyer_reach", 50.0, 20.0, 0, NONE, run, shown.append)
    for file in opened:
        file.close()
    assert figures["minutes"] == pytest.approx(1 / 3)
    assert (figures["latency_p50_us_early"], figures["latency_p50_us_late"]) == (5.5, 19.5)
    assert figures["files_growth_actor"] == 5.0
    assert abs(figures["memory_growth_actor"]) < 0.1
    assert figures["memory_mib_actor"] > 10.0
    assert figures["control_steps"] == 1900.0
    assert figures["cpu_actor"] == 0.5
    assert len(shown) == 1
    assert "actor: " in shown[0]
