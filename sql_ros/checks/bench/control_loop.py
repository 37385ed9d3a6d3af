"""`sql-ros bench actor`: timing of the control loop, alone and beside a learner that trains on the
same cores and sends a policy every second.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import yaml

from sql_ros.checks.bench.machine import QUANTILES, wake_up
from sql_ros.checks.bench.node_processes import ActorReport, NodeSettings, Watch
from sql_ros.common.config import read_yaml
from sql_ros.common.data_files import find_file, share_folder


class RealtimeRequest(NamedTuple):
    """Real-time properties that a measurement requests from Linux.

    Attributes:
        priority: SCHED_FIFO priority, and locked memory, of the actor and of the simulated arm,
            which stands for another computer; 0: none.
        cpu: Core that only the actor uses; -1: none.
        other_cpus: Cores of all other nodes; empty: all cores.
    """

    priority: int
    cpu: int
    other_cpus: tuple[int, ...]


class NodeRunner(Protocol):
    """Function that runs nodes and collects the actor's reports, such as
    `node_processes.run_nodes`.
    """

    def __call__(
        self,
        task: str,
        nodes: Mapping[str, NodeSettings],
        seconds: float,
        other_cpus: tuple[int, ...],
        watch: Watch = ...,
    ) -> tuple[list[ActorReport], dict[str, float]]:
        """Run the nodes for a time and return the actor's reports and CPU times, as
        `node_processes.run_nodes` does.
        """


MOST_UPDATES_PER_S = 400.0  # more than two cores can make: the learner never waits for transitions


def measure_actor(
    task: str,
    rates_hz: Sequence[float],
    seconds: float,
    seed: int,
    realtime: RealtimeRequest,
    run: NodeRunner,
    show: Callable[[str], None],
) -> dict[str, float]:
    """Measure the control loop in real time at several rates, beside a learner and alone.

    Starts the nodes anew for each measurement. For comparison, a thread that does nothing but wake
    up is measured at each rate (`wake_up`).

    Args:
        task: Name of a file in config/tasks/, or a path.
        rates_hz: Control rates, at least one; states come at the same rate [Hz].
        seconds: Length of each measurement [s]; at most 60, for which the actor keeps its values.
        seed: Seed of actor, learner and policy.
        realtime: Real-time properties that are requested from Linux.
        run: Starts the nodes and collects the actor's reports.
        show: Called with a line of text after each measurement; `header` has the header of these
            lines.

    Returns:
        Figures by name, such as `latency_p99_us_20` for a control rate of 20 Hz. The first part of
        a name is one of: `jitter_<quantile>_us`, `latency_<quantile>_us` (state to command),
        `inference_<quantile>_us`, `missed_fraction` (missed deadlines per step), `holds`,
        `steps_per_s`, `swaps` (replaced policies), `cpu_<executable>` (CPU time per second). The
        rate follows, then `_alone` if no learner trained. `machine_<figure>_<rate>` is from
        `wake_up`. `inference_p99_us` repeats the figure of the highest rate, beside a learner.

    Raises:
        ConfigError: The task is not valid, a node ended, or the actor made too few reports.
    """
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for rate in rates_hz:
            path = task_at(task, rate, Path(folder))
            policy = untrained_policy(path, Path(folder), seed)
            for suffix, learns in (("", True), ("_alone", False)):
                values, cpu = run(
                    path,
                    node_settings(rate, policy, seed, realtime, learns),
                    seconds,
                    realtime.other_cpus,
                )
                name = f"{rate:g}{suffix}"
                new = _figures(values, cpu, rate)
                figures |= {f"{figure}_{name}": value for figure, value in new.items()}
                show(_line(rate, learns, new, values[-1]))
            machine = wake_up(rate, seconds, realtime.priority, realtime.cpu)
            figures |= {f"machine_{figure}_{rate:g}": value for figure, value in machine.items()}
            show(_machine_line(rate, machine))
    fastest = f"{max(rates_hz):g}"
    return {**figures, "inference_p99_us": figures[f"inference_p99_us_{fastest}"]}


def header() -> str:
    """Return the header line above the lines that `measure_actor` shows."""
    columns = (
        f"{'jitter p50/p99/p99.9/max us':>30s} {'state to command p50/p99 us':>28s}"
        f" {'inference p99':>14s} {'missed':>9s}"
    )
    return (
        f"{'Hz':>5s} {'learner':>8s} {columns} {'CPU actor/arm/learner/stolen':>28s}"
        f" {'policies':>9s} {'SCHED_FIFO':>13s} own core"
    )


def _line(rate: float, learns: bool, new: dict[str, float], last: dict[str, float | str]) -> str:
    """Return the line of text about one measurement, with the columns of `header`.

    Args:
        rate: Control rate [Hz].
        learns: Whether a learner trained meanwhile.
        new: Figures of the measurement.
        last: Last report of the actor; says what Linux granted.
    """
    latency = "/".join(f"{new[f'latency_{q}_us']:.0f}" for q in ("p50", "p99"))
    cpu = "/".join(
        f"{100 * new.get(f'cpu_{name}', 0.0):.0f} %"
        for name in ("actor", "sim_bridge", "learner", "stolen")
    )
    word = "beside" if learns else "no"
    granted = [str(last.get(f"realtime/{what}", "not asked for")) for what in ("SCHED_FIFO", "cpu")]
    return (
        f"{rate:5g} {word:>8s} {_jitter(new):>30s} {latency:>28s} {new['inference_p99_us']:14.0f}"
        f" {_missed(new):>9s} {cpu:>28s} {new['swaps']:9.0f} {granted[0]:>13s} {granted[1]}"
    )


def _machine_line(rate: float, machine: dict[str, float]) -> str:
    """Return the line of text about the thread that does nothing but wake up.

    Args:
        rate: Wake-ups per second [Hz].
        machine: Figures of `wake_up`.
    """
    return (
        f"{rate:5g} {'-':>8s} {_jitter(machine):>30s} {'a thread that only wakes up':>28s} {'':14s}"
        f" {_missed(machine):>9s}"
    )


def _jitter(figures: dict[str, float]) -> str:
    """Return the quantiles of the jitter as text [us], separated by slashes in the order of
    `QUANTILES`.
    """
    return "/".join(f"{figures[f'jitter_{q}_us']:.0f}" for q in QUANTILES)


def _missed(figures: dict[str, float]) -> str:
    """Return the share of missed deadlines as text in percent."""
    return f"{100 * figures['missed_fraction']:.3f} %"


def _figures(
    values: list[dict[str, float | str]], cpu: dict[str, float], rate: float
) -> dict[str, float]:
    """Return the figures of one measurement.

    Args:
        values: Reports of the actor in order, at least two. Counters are compared between the first
            and the last; quantiles are of the last.
        cpu: CPU time between these two reports by executable, and by "stolen" [s].
        rate: Control rate [Hz]; unused.

    Returns:
        `jitter_<quantile>_us` and `latency_<quantile>_us` for each name in `QUANTILES`,
        `inference_p50_us`, `inference_p99_us` [us]; `missed_fraction`: missed deadlines per control
        step; `holds`: held steps; `steps_per_s` [1/s]; `swaps`: policies that were replaced;
        `cpu_<name>`: CPU time per second.
    """
    first, last = (
        {key: float(value) for key, value in report.items() if not isinstance(value, str)}
        for report in (values[0], values[-1])
    )
    elapsed = last["received_s"] - first["received_s"]
    steps = last["control_steps"] - first["control_steps"]
    taken = {f"jitter_{q}_us": last[f"jitter_{q}_us"] for q in QUANTILES} | {
        f"latency_{q}_us": last[f"latency_{q}_us"] for q in QUANTILES
    }
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


def node_settings(
    rate_hz: float, policy: str, seed: int, realtime: RealtimeRequest, learns: bool
) -> dict[str, NodeSettings]:
    """Return the parameters and remappings of actor, simulated arm and, if wanted, learner.

    Args:
        rate_hz: Rate of the states [Hz].
        policy: Path of the ONNX file that the actor starts with.
        seed: Seed of actor and learner.
        realtime: Real-time properties that are requested from Linux.
        learns: Add a learner that trains without pause and publishes a policy every second.

    Returns:
        Settings by executable: "sim_bridge", "actor" and, with `learns`, "learner".
    """
    scheduling = {"realtime_priority": realtime.priority}
    nodes = {
        "sim_bridge": NodeSettings({"state_rate_hz": rate_hz, **scheduling}),
        "actor": NodeSettings(
            {"seed": seed, "policy": policy, **scheduling, "cpu": realtime.cpu},
            {"commands": "sim_bridge/commands"},
        ),
    }
    if learns:
        nodes["learner"] = NodeSettings(
            {
                "seed": seed,
                "policy_period_s": 1.0,
                "threads": 1,
                "trainer.warmup_transitions": 100,
                "trainer.updates_per_transition": max(MOST_UPDATES_PER_S / rate_hz, 1.0),
            }
        )
    return nodes


def task_at(task: str, rate: float, folder: Path) -> str:
    """Write a copy of the task file with another control rate, and return the path of the copy.

    Where the physics step of the scene is longer than the control period, a copy of the scene is
    written with the control period as its step.

    Args:
        task: Name of a file in config/tasks/, or a path.
        rate: Control rate [Hz].
        folder: Existing folder for the written files.

    Raises:
        ConfigError: The task file does not exist or is no YAML.
    """
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
    """Export a policy with random weights at the default network sizes, and return the path of the
    file.

    Args:
        task: Name of a file in config/tasks/, or a path.
        folder: Existing folder for the file, which is named after the task.
        seed: Seed of the weights.
    """
    from sql_ros.learning.algorithm import AlgorithmConfig
    from sql_ros.learning.export import export_policy
    from sql_ros.learning.learner import Learner
    from sql_ros.learning.networks import Scaling
    from sql_ros.robot.tasks import load_task

    spec = load_task(task).spec
    learner = Learner(
        AlgorithmConfig(),
        Scaling(spec.observation_offset, spec.observation_scale),
        spec.action_size,
        seed,
    )
    path = folder / f"{spec.task}.onnx"
    path.write_bytes(export_policy(learner, spec, 1, "")[0])
    return str(path)
