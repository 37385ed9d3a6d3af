"""The measurement of `sql-ros bench learner` as a table and as figures (numbers by name)."""

from __future__ import annotations

import statistics

from sql_ros.checks.bench.learner import CALM_PREEMPTIONS_PER_S, LearnerResult, Measured
from sql_ros.common.markdown import padded_table

REFERENCES = ("port", "sb3_sac")
HEADER = [
    "implementation",
    "updates/s",
    "min..max",
    "x port",
    "x SB3 SAC",
    "GFLOP/update",
    "products [ms]",
    "products / update",
]


def table(result: LearnerResult) -> str:
    """Return the result as text.

    The text has a line of sizes and a padded Markdown table with one row per implementation. Three
    lines follow: speed of the largest matrix products, costs of the replay buffer, number of
    preemptions. Cells are medians over the repeats. The ratios "x port" and "x SB3 SAC" are taken
    within each repeat, before the median. A ratio above 1 means faster than that reference.

    Args:
        result: Measurements of `measure_learner`.
    """
    problem = result.problem
    buffer = result.buffer
    main = result.implementations[result.variants[0]]
    update = statistics.median(main.seconds)
    rows = [_cells(result, name, measured) for name, measured in result.implementations.items()]
    peak = "unknown" if result.peak_bytes is None else f"{result.peak_bytes / 1e6:.0f} MB"
    calm = result.preemptions_per_s <= CALM_PREEMPTIONS_PER_S
    return "\n".join(
        [
            (
                f"batch {problem.batch}, width {problem.width}, {problem.value_particles} value"
                f" particles, {problem.kernel_particles} kernel particles, observation"
                f" {problem.observation_size}, action {problem.action_size}, {result.threads}"
                f" threads, {len(main.seconds)} repeats"
            ),
            "",
            padded_table(HEADER, rows),
            "",
            "largest product: "
            + ", ".join(
                f"{rate:.0f} GFLOP/s in {dtype}" for dtype, rate in result.largest_gflops.items()
            ),
            (
                f"replay buffer of 1e6: {buffer.nbytes / 1e6:.0f} MB; sample"
                f" {1e6 * buffer.sample_seconds:.0f} us ({buffer.sample_seconds / update:.2%} of an"
                f" update), add {1e6 * buffer.add_seconds:.1f} us"
                f" ({buffer.add_seconds / update:.2%}); updates raise the memory by {peak}"
            ),
            f"preempted {result.preemptions_per_s:.0f} times a second"
            + ("" if calm else ": OTHER PROCESSES USED THE CORES, MEASURE AGAIN"),
        ]
    )


def figures(result: LearnerResult) -> dict[str, float]:
    """Return the result as numbers by name.

    A name that ends in `_` and the name of an implementation is about that implementation, such as
    `updates_per_s_port`. The same name without the suffix is about `result.variants[0]`.
    `peak_update_bytes` is missing if the memory was not measured. Times are in seconds,
    `sampling_share` and `adding_share` are shares of the update of `result.variants[0]`.

    Args:
        result: Measurements of `measure_learner`.
    """
    main = result.variants[0]
    update = statistics.median(result.implementations[main].seconds)
    values = _figures_of(result, main, "")
    for name in result.implementations:
        values |= _figures_of(result, name, f"_{name}")
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


def _cells(result: LearnerResult, name: str, measured: Measured) -> list[str]:
    """Return the table cells of one implementation, in the order of `HEADER`.

    Args:
        result: All measurements, for the ratios.
        name: Name of the implementation.
        measured: Measurements of the implementation.

    Returns:
        The texts. A ratio to a reference that was not measured is "-".
    """
    ratios = [
        f"{statistics.median(result.ratio(name, other)):.2f}"
        if other in result.implementations
        else "-"
        for other in REFERENCES
    ]
    return [
        name,
        f"{statistics.median(measured.rates):.1f}",
        f"{min(measured.rates):.1f}..{max(measured.rates):.1f}",
        *ratios,
        f"{measured.flops / 1e9:.3f}",
        f"{1e3 * statistics.median(measured.gemm_seconds):.2f}",
        f"{measured.gemm_fraction:.3f}",
    ]


def _figures_of(result: LearnerResult, name: str, suffix: str) -> dict[str, float]:
    """Return the figures of one implementation by name.

    Args:
        result: All measurements.
        name: Name of the implementation.
        suffix: Appended to the name of each figure; may be empty.

    Returns:
        `updates_per_s` (median), `updates_per_s_min` and `updates_per_s_max` over the repeats;
        `gflop_per_update`; `gemm_s` and `gemm_fraction`, the time of the matrix products and its
        share of the update. An implementation that is not a reference also has
        `ratio_vs_<reference>` for the references that were measured, above 1 if it is faster.
    """
    measured = result.implementations[name]
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
    present = [other for other in REFERENCES if other in result.implementations]
    return values | {
        f"ratio_vs_{other}{suffix}": statistics.median(result.ratio(name, other))
        for other in present
    }
