"""`sql-ros bench actor`: is the control loop on time, beside a learner that trains on the same cores and swaps its policy every second?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import yaml

from sql_ros.cli.bench_machine import QUANTILES, wake_up
from sql_ros.core.config import read_yaml
from sql_ros.share import find_file, share_folder

Reports = tuple[list[dict[str, float | str]], dict[str, float]]


class Claims(NamedTuple):
    """What a measurement asks of Linux.

    Attributes:
        priority: SCHED_FIFO priority of the actor and the simulated arm, which stands for another computer, and locked memory; 0: none.
        cpu: core that the actor has to itself; -1: none.
        others: the cores of all other nodes; none: all.
    """

    priority: int
    cpu: int
    others: tuple[int, ...]


class Running(Protocol):
    """Starts nodes of a task with their ROS arguments and listens for so many seconds."""

    def __call__(
        self, task: str, nodes: dict[str, list[str]], seconds: float, others: tuple[int, ...], watch: Callable[[dict[str, int]], None] = ...
    ) -> Reports:
        """The actor's diagnostics, one per second, and the CPU time of each node and what the host took ("stolen") [s].

        All nodes but the actor run on the cores `others`, if there are any; `watch` is told the process ids every second.
        """


MOST_UPDATES_PER_S = 400.0  # more than two cores make: so the learner never rests


def measure_actor(
    task: str, rates_hz: Sequence[float], seconds: float, seed: int, claims: Claims, run: Running, show: Callable[[str], None]
) -> dict[str, float]:
    """At every rate in real time, alone and with a learner: jitter, latency, inference, misses, CPU; and what the machine alone misses.

    Args:
        task: name of a file in config/tasks/, or a path.
        rates_hz: control rates; states come at the same rate.
        seconds: per measurement, at most 60 (what the actor remembers).
        seed: of everything.
        claims: what is asked of Linux.
        run: starts nodes, see `Running`.
        show: told a line per measurement.
    """
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for rate in rates_hz:
            path = task_at(task, rate, Path(folder))
            policy = untrained_policy(path, Path(folder), seed)
            for suffix, learns in (("", True), ("_alone", False)):
                values, cpu = run(path, node_parameters(rate, policy, seed, claims, learns), seconds, claims.others)
                name = f"{rate:g}{suffix}"
                new = _figures(values, cpu, rate)
                figures |= {f"{figure}_{name}": value for figure, value in new.items()}
                show(_line(rate, learns, new, values[-1]))
            machine = wake_up(rate, seconds, claims.priority, claims.cpu)
            figures |= {f"machine_{figure}_{rate:g}": value for figure, value in machine.items()}
            show(_machine_line(rate, machine))
    fastest = f"{max(rates_hz):g}"
    return {**figures, "inference_p99_us": figures[f"inference_p99_us_{fastest}"]}


def header() -> str:
    """Over the lines of `measure_actor`."""
    columns = f"{'jitter p50/p99/p99.9/max us':>30s} {'state to command p50/p99 us':>28s} {'inference p99':>14s} {'missed':>9s}"
    return f"{'Hz':>5s} {'learner':>8s} {columns} {'CPU actor/arm/learner/stolen':>28s} {'policies':>9s} {'SCHED_FIFO':>13s} own core"


def _line(rate: float, learns: bool, new: dict[str, float], last: dict[str, float | str]) -> str:
    latency = "/".join(f"{new[f'latency_{q}_us']:.0f}" for q in ("p50", "p99"))
    cpu = "/".join(f"{100 * new.get(f'cpu_{name}', 0.0):.0f} %" for name in ("actor", "sim_bridge", "learner", "stolen"))
    word = "beside" if learns else "no"
    granted = [str(last.get(f"realtime/{what}", "not asked for")) for what in ("SCHED_FIFO", "cpu")]
    return (
        f"{rate:5g} {word:>8s} {_jitter(new):>30s} {latency:>28s} {new['inference_p99_us']:14.0f} {_missed(new):>9s} {cpu:>28s} "
        f"{new['swaps']:9.0f} {granted[0]:>13s} {granted[1]}"
    )


def _machine_line(rate: float, machine: dict[str, float]) -> str:
    return f"{rate:5g} {'-':>8s} {_jitter(machine):>30s} {'a thread that only wakes up':>28s} {'':14s} {_missed(machine):>9s}"


def _jitter(figures: dict[str, float]) -> str:
    return "/".join(f"{figures[f'jitter_{q}_us']:.0f}" for q in QUANTILES)


def _missed(figures: dict[str, float]) -> str:
    return f"{100 * figures['missed_fraction']:.3f} %"


def _figures(values: list[dict[str, float | str]], cpu: dict[str, float], rate: float) -> dict[str, float]:
    """From the first to the last of the actor's reports."""
    first, last = ({key: float(value) for key, value in report.items() if not isinstance(value, str)} for report in (values[0], values[-1]))
    elapsed = last["received_s"] - first["received_s"]
    steps = last["control_steps"] - first["control_steps"]
    taken = {f"jitter_{q}_us": last[f"jitter_{q}_us"] for q in QUANTILES} | {f"latency_{q}_us": last[f"latency_{q}_us"] for q in QUANTILES}
    return {
        **taken,
        "inference_p50_us": last["inference_p50_us"],
        "inference_p99_us": last["inference_p99_us"],
        "missed_fraction": (last["missed_deadlines"] - first["missed_deadlines"]) / max(steps, 1.0),
        "holds": last["holds"] - first["holds"],
        "steps_per_s": steps / elapsed,
        "swaps": last["policy_version"] - first["policy_version"],
        **{f"cpu_{name}": seconds / elapsed for name, seconds in cpu.items()},
    }


def node_parameters(rate: float, policy: str, seed: int, claims: Claims, learns: bool) -> dict[str, list[str]]:
    """ROS arguments by node; the learner, if there is one, never rests."""
    realtime = ["-p", f"realtime_priority:={claims.priority}", "-p", f"lock_memory:={str(claims.priority > 0).lower()}"]
    nodes = {
        "sim_bridge": ["-p", f"state_rate_hz:={rate}", *realtime],
        "actor": [
            "-p",
            f"seed:={seed}",
            "-p",
            f"policy:={policy}",
            "-r",
            "commands:=sim_bridge/commands",
            *realtime,
            "-p",
            f"cpu:={claims.cpu}",
        ],
    }
    if learns:
        ratio = max(MOST_UPDATES_PER_S / rate, 1.0)
        trainer = ["-p", "trainer.warmup_transitions:=100", "-p", f"trainer.updates_per_transition:={ratio}"]
        nodes["learner"] = ["-p", f"seed:={seed}", "-p", "policy_period_s:=1.0", "-p", "threads:=1", *trainer]
    return nodes


def task_at(task: str, rate: float, folder: Path) -> str:
    """The task at another control rate, its scene with physics steps short enough for it."""
    import mujoco

    values = read_yaml(find_file(task, "config/tasks"))
    spec = mujoco.MjSpec.from_file(str(share_folder() / values["scene"]))
    if 1.0 / rate < spec.option.timestep:
        spec.option.timestep = 1.0 / rate
        spec.compile()
        scene = folder / f"scene_{rate:g}.xml"
        scene.write_text(spec.to_xml())
        values["scene"] = str(scene)
    path = folder / f"{Path(task).stem}_{rate:g}.yaml"
    path.write_text(yaml.safe_dump({**values, "control_rate_hz": rate}))
    return str(path)


def untrained_policy(task: str, folder: Path, seed: int) -> str:
    """A policy of the shipped size, so that the actor has one from the start."""
    from sql_ros.core.algorithm import AlgorithmConfig
    from sql_ros.core.export import export_policy
    from sql_ros.core.learner import Learner
    from sql_ros.core.networks import Scaling
    from sql_ros.robot.tasks import load_task

    spec = load_task(task).spec
    learner = Learner(AlgorithmConfig(), Scaling(spec.observation_offset, spec.observation_scale), spec.action_size, seed)
    path = folder / f"{spec.task}.onnx"
    path.write_bytes(export_policy(learner, spec, 1, "")[0])
    return str(path)
