"""`sql-ros fuzz`: hostile input by the hundred thousand. Everything that comes from outside is refused with a readable reason, or taken.

First what decodes and loads, in this process: messages, signatures, ONNX, YAML, parameters, launch arguments, checkpoints, ledgers, keys
(`fuzz_cases.py`). Then nodes that run, over DDS: their topics, as messages and as bytes that are none, and their services
(`fuzz_nodes.py`).
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sql_ros.cli.bench import memory_mib, own_domain
from sql_ros.cli.numbers import natural, positive
from sql_ros.core.errors import ConfigError, SqlRosError
from sql_ros.runs.figures import write_figures

HANG_S = 5.0  # nothing may take so long
LONGEST_REASON = 2000  # characters that somebody may be asked to read
LIVE_SHARE = 0.1  # of the cases go to nodes that run
WARM_UP = 0.3  # of a target's cases, before memory is compared


@dataclass(frozen=True)
class Target:
    """Something that takes what comes from outside.

    Attributes:
        name: of it.
        share: of all cases, relative to the others.
        attack: makes a case by a generator and feeds it; raises `SqlRosError` where it is refused.
    """

    name: str
    share: float
    attack: Callable[[np.random.Generator], object]


@dataclass
class Outcome:
    """Of one target: how many were taken, refused with a reason, and what must not be.

    Attributes:
        crashed: another error than one of our own.
        hung: took `HANG_S`.
        unreadable: refused without a reason, or with one that nobody reads to its end.
        growth_mib: of the memory since the warm-up.
        first: the first crash, to be looked at.
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
        """In all."""
        return self.taken + self.refused + self.crashed

    def is_clean(self) -> bool:
        """Nothing that must not be."""
        return not (self.crashed or self.hung or self.unreadable)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command."""
    parser.add_argument("--cases", type=positive, default=10_000, help="in all (default: 10000; a minute or two)")
    parser.add_argument("--seed", type=natural, default=0, help="(default: 0)")
    parser.add_argument("--only", nargs="+", metavar="TARGET", help="these targets alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")


def run(args: argparse.Namespace) -> int:
    """Exit code 1 if anything crashed, hung, or was refused without a reason."""
    from sql_ros.cli.fuzz_cases import make_targets
    from sql_ros.cli.fuzz_nodes import LIVE, attack_nodes

    outcomes: dict[str, Outcome] = {}
    os.environ |= own_domain()
    logging.disable(logging.CRITICAL)  # damaged checkpoints are warned about, one by one
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):  # numbers overflow on purpose
        os.environ["ROS_LOG_DIR"] = folder
        targets = make_targets(Path(folder))
        names = [*(target.name for target in targets), LIVE]
        unknown = sorted(set(args.only or ()) - set(names))
        if unknown:
            raise ConfigError(f"--only {' '.join(unknown)}, expected some of: {', '.join(names)}")
        chosen = [target for target in targets if not args.only or target.name in args.only]
        live = round(args.cases * (LIVE_SHARE if chosen else 1.0)) if not args.only or LIVE in args.only else 0
        whole = sum(target.share for target in chosen)
        for number, target in enumerate(chosen):
            count = max(round((args.cases - live) * target.share / whole), 1)
            outcomes[target.name] = _attack(target, count, np.random.default_rng([args.seed, number]))
            _show(target.name, outcomes[target.name])
        if live:
            outcomes[LIVE] = attack_nodes(live, args.seed, Path(folder))
            _show(LIVE, outcomes[LIVE])
    figures = _figures(outcomes)
    print("\n".join(f"{name:>12} {figures[name]:g}" for name in ("cases", "taken", "refused", "crashed", "hung", "unreadable")))
    if args.json:
        write_figures(args.json, figures, args.seed)
    return int(not all(outcome.is_clean() for outcome in outcomes.values()))


def judge(outcome: Outcome, work: Callable[[], object]) -> None:
    """Feeds one case and notes what came of it."""
    began = time.monotonic()
    try:
        work()
        outcome.taken += 1
    except SqlRosError as error:
        outcome.refused += 1
        outcome.unreadable += int(not 0 < len(str(error)) <= LONGEST_REASON)
        if outcome.unreadable and not outcome.first:
            outcome.first = f"{len(str(error))} characters: {str(error)[:300]}"
    except Exception:
        outcome.crashed += 1
        outcome.first = outcome.first or traceback.format_exc()[-2000:]
    if time.monotonic() - began > HANG_S:
        outcome.hung += 1
        outcome.first = outcome.first or f"took {time.monotonic() - began:.1f} s"


def _attack(target: Target, count: int, rng: np.random.Generator) -> Outcome:
    outcome, before = Outcome(), memory_mib()
    for number in range(count):
        judge(outcome, lambda: target.attack(rng))
        if number == round(WARM_UP * count):
            before = memory_mib()
    outcome.growth_mib = memory_mib() - before
    return outcome


def _show(name: str, outcome: Outcome) -> None:
    bad = f", {outcome.crashed} crashed, {outcome.hung} hung, {outcome.unreadable} unreadable" if not outcome.is_clean() else ""
    print(f"{name:>20}: {outcome.taken:6d} taken, {outcome.refused:6d} refused, {outcome.growth_mib:+6.1f} MiB{bad}", flush=True)
    if outcome.first:
        print(outcome.first, flush=True)


def _figures(outcomes: dict[str, Outcome]) -> dict[str, float]:
    counts = ("cases", "taken", "refused", "crashed", "hung", "unreadable")
    figures = {name: float(sum(getattr(outcome, name) for outcome in outcomes.values())) for name in counts}
    for name, outcome in outcomes.items():
        figures |= {f"{count}_{name}": float(getattr(outcome, count)) for count in ("taken", "refused", "crashed")}
        figures[f"growth_mib_{name}"] = outcome.growth_mib
    return figures
