"""`sql-ros verify`: the mathematics against exact answers, a row per check.

The suite `drivers` is of another kind, see `verify_drivers.py`: it starts processes and is run by itself.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from sql_ros.cli import verify_drivers
from sql_ros.cli.numbers import natural, positive

SUITES = ("exact", "samplers", "values", "temperature", "fixed_points", "safety")  # of sql_ros.verify.suite, which imports torch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument(
        "suites",
        nargs="*",
        metavar="suite",
        help=f"of: {', '.join(SUITES)} (default: all of these), or {verify_drivers.SUITE} alone",
    )
    parser.add_argument("--seed", default=0, type=natural, help="of weights and draws (default: %(default)s)")
    parser.add_argument("--threads", default=1, type=positive, help="of torch (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="also the rows that stand beside for comparison")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write verify.json, verify.md and samplers.png there; of drivers: drivers.md and the logs"
    )
    verify_drivers.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints a row per check; exit code 1 if one fails."""
    from sql_ros.core.errors import ConfigError

    if args.suites == [verify_drivers.SUITE]:
        return verify_drivers.run(args)
    if args.only or args.json:
        raise ConfigError(f"--only and --json are of the suite {verify_drivers.SUITE} alone")
    for name in args.suites:
        if name not in SUITES:
            raise ConfigError(f"unknown suite '{name}', expected one of: {', '.join(SUITES)}, or {verify_drivers.SUITE} alone")
    import torch

    from sql_ros.core.memory import keep_freed_memory
    from sql_ros.verify.report import failed, row, write
    from sql_ros.verify.suite import verify
    from sql_ros.verify.value_checks import table

    keep_freed_memory()
    torch.set_num_threads(args.threads)
    start = time.monotonic()
    findings = verify(args.suites, args.seed, lambda line: print(f"[{time.monotonic() - start:5.0f} s] {line}", flush=True))
    for check in findings.checks:
        if check.judged or args.all:
            print(row(check))
    if findings.estimates:
        print("\nbias and standard deviation of one estimate of V [nat], by proposal and evaluations of Q:\n" + table(findings.estimates))
    judged, bad = [check for check in findings.checks if check.judged], failed(findings.checks)
    print(f"\n{len(judged) - len(bad)} of {len(judged)} checks hold, {time.monotonic() - start:.0f} s")
    if args.out:
        write(findings, args.out, args.seed, time.monotonic() - start)
        print(f"written to {args.out}")
    return 1 if bad else 0
