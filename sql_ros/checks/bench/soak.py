"""`sql-ros bench soak`: growth of memory, open file handles and latency while a stack trains for a
long time.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sql_ros.checks.bench.control_loop import (
    NodeRunner,
    RealtimeRequest,
    node_settings,
    task_at,
    untrained_policy,
)
from sql_ros.checks.bench.node_processes import NodeSettings
from sql_ros.checks.processes import memory_mib

# shares of the run: the warm-up, and each of the two compared windows
WARM_UP = 0.2
WINDOW = 0.1
CAPACITY = 20_000  # transitions in the buffer, which is full before the end of the warm-up
SHOW_EVERY_S = 60.0
Sample = dict[str, tuple[float, float]]  # by node: memory [MiB], open file handles


def measure_soak(
    task: str,
    rate_hz: float,
    seconds: float,
    seed: int,
    realtime: RealtimeRequest,
    run: NodeRunner,
    show: Callable[[str], None],
) -> dict[str, float]:
    """Run learner, simulated arm and actor in real time for a long time, with run folder and
    checkpoints.

    The run folder is temporary and is deleted at the end. The figures compare two windows: one
    tenth of the run directly after the warm-up of one fifth, and its last tenth.

    Args:
        task: Name of a file in config/tasks/, or a path.
        rate_hz: Rate of control and states [Hz].
        seconds: Length of the run [s].
        seed: Seed of actor, learner and policy.
        realtime: Real-time properties that are requested from Linux.
        run: Starts the nodes and collects the actor's reports.
        show: Called about once per minute with a line of text about memory and file handles.

    Returns:
        Figures by name. `minutes`, `rate_hz`: the arguments. For each node: `memory_mib_<node>` in
        the last window [MiB], `memory_growth_<node>` since the first window as a share (0.1: 10 %
        more), `files_growth_<node>`, the growth of the number of file handles, and `cpu_<node>`,
        its CPU time per second. `cpu_stolen`: the time per second that the host of a virtual
        machine took. `latency_<p50|p99>_us_<early|late>`: latency in the two windows [us].
        `transitions`, `missed_deadlines`, `policy_version`, `control_steps`: increase over the run.

    Raises:
        ConfigError: A node ended, or the actor made too few reports.
    """
    samples: list[tuple[float, Sample]] = []
    began = time.monotonic()

    def watch(pids: dict[str, int]) -> None:
        """Append a sample of every node to `samples`; show the sample when a new minute has begun.

        Args:
            pids: Process id by executable.
        """
        now = time.monotonic() - began
        samples.append((now, {name: _sample(pid) for name, pid in pids.items()}))
        if len(samples) == 1 or now // SHOW_EVERY_S > samples[-2][0] // SHOW_EVERY_S:
            show(
                f"{now / 60:5.1f} min  "
                + "  ".join(
                    f"{n}: {mib:.1f} MiB, {files:.0f} files"
                    for n, (mib, files) in samples[-1][1].items()
                )
            )

    with tempfile.TemporaryDirectory() as folder:
        path = task_at(task, rate_hz, Path(folder))
        policy = untrained_policy(path, Path(folder), seed)
        nodes = node_settings(rate_hz, policy, seed, realtime, learns=True)
        of_soak = {"run_dir": f"{folder}/run", "trainer.replay_capacity": CAPACITY}
        nodes["learner"] = NodeSettings({**nodes["learner"].parameters, **of_soak})
        values, cpu = run(path, nodes, seconds, realtime.other_cpus, watch)
    reports = [
        {key: float(value) for key, value in report.items() if not isinstance(value, str)}
        for report in values
    ]
    figures = {"minutes": seconds / 60.0, "rate_hz": rate_hz, **_growth(samples)}
    early, late = _windows(len(reports))
    for quantile in ("p50", "p99"):
        name = f"latency_{quantile}_us"
        figures |= {
            f"{name}_{when}": float(np.median([r[name] for r in reports[part]]))
            for when, part in (("early", early), ("late", late))
        }
    for name in ("transitions", "missed_deadlines", "policy_version", "control_steps"):
        figures[name] = reports[-1][name] - reports[0][name]
    return figures | {f"cpu_{name}": used / seconds for name, used in cpu.items()}


def _growth(samples: list[tuple[float, Sample]]) -> dict[str, float]:
    """Return the figures `memory_mib_<node>`, `memory_growth_<node>` and `files_growth_<node>` of
    every node.

    Args:
        samples: Time since the start [s] and the sample of every node, in order of time.

    Returns:
        Median memory in the last window [MiB], its growth since the first window as a share, and
        the growth of the median number of file handles, by name of the figure.
    """
    early, late = _windows(len(samples))
    figures: dict[str, float] = {}
    for name in samples[-1][1]:
        memory, files = np.array([sample[name] for _, sample in samples]).T
        before = float(np.median(memory[early]))
        after = float(np.median(memory[late]))
        figures |= {f"memory_mib_{name}": after, f"memory_growth_{name}": after / before - 1.0}
        figures[f"files_growth_{name}"] = float(np.median(files[late]) - np.median(files[early]))
    return figures


def _windows(count: int) -> tuple[slice, slice]:
    """Return the two parts of a sequence that are compared: after the warm-up, and at the end.

    Args:
        count: Length of the sequence, at least 1.

    Returns:
        Slices of the same length, at least one element.
    """
    first = round(WARM_UP * count)
    length = max(round(WINDOW * count), 1)
    return slice(first, first + length), slice(count - length, count)


def _sample(pid: int) -> tuple[float, float]:
    """Return the resident memory [MiB] and the number of open file handles of a process.

    Args:
        pid: Process id of a running process of this user.
    """
    return memory_mib(pid), float(len(list(Path(f"/proc/{pid}/fd").iterdir())))
