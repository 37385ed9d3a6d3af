"""`sql-ros fuzz`: feed hostile input to every part that takes input from outside. The part must
refuse the input with a readable reason or accept it.

First the decoders and loaders in this process: messages, signatures, ONNX, YAML, parameters, launch
arguments, checkpoints, transition logs, keys (`mutations.py`). Then running nodes over DDS: their
topics, with messages and with raw bytes, and their services (`live_nodes.py`).
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sql_ros.checks.processes import memory_mib, own_domain
from sql_ros.common.errors import SqlRosError

HANG_S = 5.0  # a case that takes longer hangs
LONGEST_REASON = 2000  # most characters of a readable reason
LIVE_SHARE = 0.1  # share of the cases that go to running nodes
WARM_UP = 0.3  # share of a target's cases before memory is compared


@dataclass(frozen=True)
class Target:
    """A part that takes input from outside.

    Attributes:
        name: Name of the part.
        share: Weight of the target: its share of the cases is this over the sum of all chosen
            targets.
        attack: Makes one hostile case with a generator and feeds the part with it. Raises
            `SqlRosError` if the part refuses the case; any other error is a crash.
    """

    name: str
    share: float
    attack: Callable[[np.random.Generator], object]


@dataclass
class FuzzCounts:
    """Counts of one target.

    Attributes:
        taken: Accepted cases.
        refused: Cases refused with an error of this package.
        crashed: Cases that raised another error.
        hung: Cases that took longer than `HANG_S`; each is also counted as taken, refused or
            crashed.
        unreadable: Refused cases whose reason is empty or longer than `LONGEST_REASON`.
        growth_mib: Growth of this process's memory since the warm-up [MiB].
        first: The first crashed, hung or unreadable case, in words; empty: none.
    """

    taken: int = 0
    refused: int = 0
    crashed: int = 0
    hung: int = 0
    unreadable: int = 0
    growth_mib: float = 0.0
    first: str = ""

    @property
    def cases(self) -> int:
        """Return the number of cases."""
        return self.taken + self.refused + self.crashed

    def is_clean(self) -> bool:
        """Return whether no case crashed, hung or was refused without a readable reason."""
        return not (self.crashed or self.hung or self.unreadable)


def attack(cases: int, seed: int) -> dict[str, FuzzCounts]:
    """Feed hostile input to every target; print a line per target.

    Sets the DDS domain and the log folder in the environment of this process, and disables logging.
    Neither is restored.

    Args:
        cases: Number of inputs in all; each target gets at least one.
        seed: Seed of the inputs.

    Returns:
        Counts by target.

    Raises:
        ConfigError: A node did not start.
    """
    from sql_ros.checks.stress.live_nodes import LIVE, attack_nodes
    from sql_ros.checks.stress.mutations import make_targets

    os.environ |= own_domain()
    logging.disable(logging.CRITICAL)  # every damaged checkpoint logs a warning
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ROS_LOG_DIR"] = folder
        live = round(cases * LIVE_SHARE)
        all_counts = attack_targets(make_targets(Path(folder)), cases - live, seed)
        if live:
            all_counts[LIVE] = attack_nodes(live, seed, Path(folder))
            _show(LIVE, all_counts[LIVE])
    return all_counts


def attack_targets(targets: Sequence[Target], cases: int, seed: int) -> dict[str, FuzzCounts]:
    """Feed hostile input to targets in this process; print a line per target.

    Args:
        targets: The targets; their shares divide the cases.
        cases: Number of inputs in all; each target gets at least one.
        seed: Seed of the inputs.

    Returns:
        Counts by target.
    """
    all_counts: dict[str, FuzzCounts] = {}
    whole = sum(target.share for target in targets)
    with np.errstate(all="ignore"):  # numbers overflow on purpose
        for number, target in enumerate(targets):
            count = max(round(cases * target.share / whole), 1)
            all_counts[target.name] = _attack(target, count, np.random.default_rng([seed, number]))
            _show(target.name, all_counts[target.name])
    return all_counts


def judge(counts: FuzzCounts, work: Callable[[], object]) -> None:
    """Feed one case and count its outcome. Describe it in `counts.first`, if it is the first that
    crashed, hung or was refused without a readable reason.

    Args:
        counts: Counts that are changed in place.
        work: Feeds the case. An `SqlRosError` is a refusal, any other `Exception` a crash.
    """
    began = time.monotonic()
    try:
        work()
        counts.taken += 1
    except SqlRosError as error:
        counts.refused += 1
        counts.unreadable += int(not 0 < len(str(error)) <= LONGEST_REASON)
        if counts.unreadable and not counts.first:
            counts.first = f"{len(str(error))} characters: {str(error)[:300]}"
    except Exception:
        counts.crashed += 1
        counts.first = counts.first or traceback.format_exc()[-2000:]
    if time.monotonic() - began > HANG_S:
        counts.hung += 1
        counts.first = counts.first or f"took {time.monotonic() - began:.1f} s"


def _attack(target: Target, count: int, rng: np.random.Generator) -> FuzzCounts:
    """Feed a number of cases to a target and return its counts.

    Args:
        target: The target.
        count: Number of cases.
        rng: Generator of the cases.
    """
    counts = FuzzCounts()
    before = memory_mib()
    for number in range(count):
        judge(counts, lambda: target.attack(rng))
        if number == round(WARM_UP * count):
            before = memory_mib()
    counts.growth_mib = memory_mib() - before
    return counts


def _show(name: str, counts: FuzzCounts) -> None:
    """Print the counts of a target, and its first wrong case if there is one."""
    faults = (
        f", {counts.crashed} crashed, {counts.hung} hung, {counts.unreadable} unreadable"
        if not counts.is_clean()
        else ""
    )
    print(
        f"{name:>20}: {counts.taken:6d} taken, {counts.refused:6d} refused,"
        f" {counts.growth_mib:+6.1f} MiB{faults}",
        flush=True,
    )
    if counts.first:
        print(counts.first, flush=True)


def figures(all_counts: dict[str, FuzzCounts]) -> dict[str, float]:
    """Return the counts as figures by name.

    Args:
        all_counts: Counts by target.

    Returns:
        `cases`, `taken`, `refused`, `crashed`, `hung` and `unreadable` over all targets; of each
        target `taken_<target>`, `refused_<target>`, `crashed_<target>` and `growth_mib_<target>`
        [MiB].
    """
    names = ("cases", "taken", "refused", "crashed", "hung", "unreadable")
    values = {
        name: float(sum(getattr(counts, name) for counts in all_counts.values())) for name in names
    }
    for target, counts in all_counts.items():
        for name in ("taken", "refused", "crashed"):
            values[f"{name}_{target}"] = float(getattr(counts, name))
        values[f"growth_mib_{target}"] = counts.growth_mib
    return values
