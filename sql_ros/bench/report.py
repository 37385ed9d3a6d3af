"""The measurement as a table to read and as flat figures to keep."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from sql_ros.bench.learner import CALM_PREEMPTIONS_PER_S, LearnerResult, Measured

REFERENCES = ("port", "sb3_sac")
HEADER = ["contender", "updates/s", "min..max", "x port", "x SB3 SAC", "GFLOP/update", "products [ms]", "products / update"]


def table(result: LearnerResult) -> str:
    """Markdown with aligned columns: medians of the repeats; a ratio is taken within each repeat, then its median."""
    problem, buffer, main = result.problem, result.buffer, result.contenders[result.variants[0]]
    update = statistics.median(main.seconds)
    rows = [_row(result, name, measured) for name, measured in result.contenders.items()]
    peak = "unknown" if result.peak_bytes is None else f"{result.peak_bytes / 1e6:.0f} MB"
    calm = result.preemptions_per_s <= CALM_PREEMPTIONS_PER_S
    return "\n".join(
        [
            f"batch {problem.batch}, width {problem.width}, {problem.value_particles} value particles, {problem.kernel_particles} kernel "
            f"particles, observation {problem.observation_size}, action {problem.action_size}, {result.threads} threads, "
            f"{len(main.seconds)} repeats",
            "",
            aligned(HEADER, rows),
            "",
            "largest product: " + ", ".join(f"{rate:.0f} GFLOP/s in {dtype}" for dtype, rate in result.largest_gflops.items()),
            f"replay buffer of 1e6: {buffer.nbytes / 1e6:.0f} MB; sample {1e6 * buffer.sample_seconds:.0f} us "
            f"({buffer.sample_seconds / update:.2%} of an update), add {1e6 * buffer.add_seconds:.1f} us "
            f"({buffer.add_seconds / update:.2%}); updates raise the memory by {peak}",
            f"preempted {result.preemptions_per_s:.0f} times a second" + ("" if calm else ": OTHERS HAD THE CORES, MEASURE AGAIN"),
        ]
    )


def figures(result: LearnerResult) -> dict[str, float]:
    """Flat numbers; those without a contender in their name are of the first variant of ours, those ending in a name are of that one."""
    main = result.variants[0]
    update = statistics.median(result.contenders[main].seconds)
    values = _of(result, main, "")
    for name in result.contenders:
        values |= _of(result, name, f"_{name}")
    for dtype, rate in result.largest_gflops.items():
        values[f"largest_product_gflop_per_s_{dtype}"] = rate
    if result.peak_bytes is not None:
        values["peak_update_bytes"] = float(result.peak_bytes)
    return {
        **values,
        "preemptions_per_s": result.preemptions_per_s,
        "sample_s": result.buffer.sample_seconds,
        "add_s": result.buffer.add_seconds,
        "sampling_share": result.buffer.sample_seconds / update,
        "adding_share": result.buffer.add_seconds / update,
        "buffer_bytes": float(result.buffer.nbytes),
    }


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, first column to the left and the others to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    cells = [[row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))] for row in [header, *rows]]
    return "\n".join("| " + " | ".join(row) + " |" for row in [cells[0], rule, *cells[1:]])


def _row(result: LearnerResult, name: str, measured: Measured) -> list[str]:
    ratios = [f"{statistics.median(result.ratio(name, other)):.2f}" if other in result.contenders else "-" for other in REFERENCES]
    return [
        name,
        f"{statistics.median(measured.rates):.1f}",
        f"{min(measured.rates):.1f}..{max(measured.rates):.1f}",
        *ratios,
        f"{measured.flops / 1e9:.3f}",
        f"{1e3 * statistics.median(measured.gemm_seconds):.2f}",
        f"{measured.gemm_fraction:.3f}",
    ]


def _of(result: LearnerResult, name: str, suffix: str) -> dict[str, float]:
    measured = result.contenders[name]
    values = {
        f"updates_per_s{suffix}": statistics.median(measured.rates),
        f"updates_per_s_min{suffix}": min(measured.rates),
        f"updates_per_s_max{suffix}": max(measured.rates),
        f"gflop_per_update{suffix}": measured.flops / 1e9,
        f"gemm_s{suffix}": statistics.median(measured.gemm_seconds),
        f"gemm_fraction{suffix}": measured.gemm_fraction,
    }
    if name in REFERENCES:
        return values
    present = [other for other in REFERENCES if other in result.contenders]
    return values | {f"ratio_vs_{other}{suffix}": statistics.median(result.ratio(name, other)) for other in present}
