"""`sql-ros bench soak`: a stack trains at a high rate for long. Do its memory and its file handles grow, is it as quick at the end?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sql_ros.cli.bench import memory_mib
from sql_ros.cli.bench_actor import Claims, Running, node_parameters, task_at, untrained_policy

WARM_UP, WINDOW = 0.2, 0.1  # shares of the time: left out at first, and compared, right after it and at the end
CAPACITY = 20_000  # transitions of the learner's buffer: full before the warm-up is over
SHOW_EVERY_S = 60.0
Sample = dict[str, tuple[float, float]]  # by node: memory [MiB], open file handles


def measure_soak(
    task: str, rate_hz: float, seconds: float, seed: int, claims: Claims, run: Running, show: Callable[[str], None]
) -> dict[str, float]:
    """Learner with run folder and checkpoints, simulated arm and actor in real time.

    Args:
        task: name of a file in config/tasks/, or a path.
        rate_hz: of control and states.
        seconds: in all.
        seed: of everything.
        claims: what is asked of Linux.
        run: starts nodes, see `Running`.
        show: told a line per minute.

    Returns:
        Per node memory at the end [MiB], its growth since the warm-up as a share, and by how many its file handles grew; latency after the
        warm-up and at the end [us].
    """
    samples: list[tuple[float, Sample]] = []
    began = time.monotonic()

    def watch(pids: dict[str, int]) -> None:
        now = time.monotonic() - began
        samples.append((now, {name: _sample(pid) for name, pid in pids.items()}))
        if len(samples) == 1 or now // SHOW_EVERY_S > samples[-2][0] // SHOW_EVERY_S:
            show(
                f"{now / 60:5.1f} min  " + "  ".join(f"{n}: {mib:.1f} MiB, {files:.0f} files" for n, (mib, files) in samples[-1][1].items())
            )

    with tempfile.TemporaryDirectory() as folder:
        path = task_at(task, rate_hz, Path(folder))
        nodes = node_parameters(rate_hz, untrained_policy(path, Path(folder), seed), seed, claims, learns=True)
        nodes["learner"] += ["-p", f"run_dir:={folder}/run", "-p", f"trainer.replay_capacity:={CAPACITY}"]
        values, cpu = run(path, nodes, seconds, claims.others, watch)
    reports = [{key: float(value) for key, value in report.items() if not isinstance(value, str)} for report in values]
    figures = {"minutes": seconds / 60.0, "rate_hz": rate_hz, **_growth(samples)}
    early, late = _windows(len(reports))
    for quantile in ("p50", "p99"):
        name = f"latency_{quantile}_us"
        figures |= {
            f"{name}_{when}": float(np.median([r[name] for r in reports[part]])) for when, part in (("early", early), ("late", late))
        }
    for name in ("transitions", "missed_deadlines", "policy_version", "control_steps"):
        figures[name] = reports[-1][name] - reports[0][name]
    return figures | {f"cpu_{name}": used / seconds for name, used in cpu.items()}


def _growth(samples: list[tuple[float, Sample]]) -> dict[str, float]:
    early, late = _windows(len(samples))
    figures: dict[str, float] = {}
    for name in samples[-1][1]:
        memory, files = np.array([sample[name] for _, sample in samples]).T
        before, after = float(np.median(memory[early])), float(np.median(memory[late]))
        figures |= {f"memory_mib_{name}": after, f"memory_growth_{name}": after / before - 1.0}
        figures[f"files_growth_{name}"] = float(np.median(files[late]) - np.median(files[early]))
    return figures


def _windows(count: int) -> tuple[slice, slice]:
    """The parts of `count` samples that are compared."""
    first, length = round(WARM_UP * count), max(round(WINDOW * count), 1)
    return slice(first, first + length), slice(count - length, count)


def _sample(pid: int) -> tuple[float, float]:
    return memory_mib(pid), float(len(list(Path(f"/proc/{pid}/fd").iterdir())))
