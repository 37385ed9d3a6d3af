"""`sql-ros verify`: check the mathematics against exact answers, one row per check.

The suites `drivers` and `stops` start processes instead, and are run alone (`verify_drivers.py`,
`verify_stops.py`).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sql_ros.cli import verify_drivers, verify_stops
from sql_ros.common.argument_types import natural

if TYPE_CHECKING:
    from sql_ros.checks.verify.suite import VerifyResults

# the suites of sql_ros.checks.verify.suite, repeated here because that module imports torch
SUITES = ("exact", "samplers", "values", "temperature", "fixed_points", "safety")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "suites",
        nargs="*",
        metavar="suite",
        help=(
            f"any of: {', '.join(SUITES)} (default: all of these), or {verify_drivers.SUITE} or"
            f" {verify_stops.SUITE} alone"
        ),
    )
    parser.add_argument(
        "--seed", default=0, type=natural, help="seed of weights and draws (default: %(default)s)"
    )
    parser.add_argument(
        "--all", action="store_true", help="also print the rows for comparison, which need not hold"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=(
            "write verify.json, verify.md and samplers.png there; of drivers: drivers.md and the"
            " logs"
        ),
    )
    verify_drivers.add_arguments(parser)
    verify_stops.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the suites and print a row per check; with `--out` also write verify.json, verify.md and
    samplers.png.

    The suites of drivers and stops, which are given alone, have a `run` of their own. Checks that
    are not judged are printed with `--all` only.

    Returns:
        Exit code 1 if a check fails, otherwise 0.

    Raises:
        ConfigError: A suite is unknown, or an option is of another suite.
    """
    if args.suites == [verify_drivers.SUITE]:
        return verify_drivers.run(args)
    if args.suites == [verify_stops.SUITE]:
        return verify_stops.run(args)
    _check_arguments(args)
    import torch

    from sql_ros.checks.verify.report import failed, write
    from sql_ros.checks.verify.suite import verify
    from sql_ros.common.allocator import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(1)
    start = time.monotonic()
    results = verify(
        args.suites,
        args.seed,
        lambda line: print(f"[{time.monotonic() - start:5.0f} s] {line}", flush=True),
    )
    _print_results(results, shows_all=args.all)
    judged = [check for check in results.checks if check.judged]
    bad = failed(results.checks)
    print(
        f"\n{len(judged) - len(bad)} of {len(judged)} checks hold, {time.monotonic() - start:.0f} s"
    )
    if args.out:
        write(results, args.out, args.seed, time.monotonic() - start)
        print(f"written to {args.out}")
    return 1 if bad else 0


def _check_arguments(args: argparse.Namespace) -> None:
    """Check suites and options of a call without the suites of drivers and stops.

    Raises:
        ConfigError: A suite is unknown, or an option is of another suite.
    """
    from sql_ros.common.errors import ConfigError

    if args.only or args.json:
        raise ConfigError(
            f"--only and --json are of the suites {verify_drivers.SUITE} and {verify_stops.SUITE}"
            " alone"
        )
    for name in args.suites:
        if name not in SUITES:
            raise ConfigError(
                f"unknown suite '{name}', expected one of: {', '.join(SUITES)}, or"
                f" {verify_drivers.SUITE} or {verify_stops.SUITE} alone"
            )


def _print_results(results: VerifyResults, *, shows_all: bool) -> None:
    """Print a row per check, and the table of the estimates of V if there are any.

    Args:
        results: Results of the suites.
        shows_all: Whether checks that are not judged are printed, too.
    """
    from sql_ros.checks.verify.report import row
    from sql_ros.checks.verify.value_checks import table

    for check in results.checks:
        if check.judged or shows_all:
            print(row(check))
    if results.estimates:
        print(
            "\nbias and standard deviation of one estimate of V [nat], by proposal and evaluations"
            " of Q:\n" + table(results.estimates)
        )
