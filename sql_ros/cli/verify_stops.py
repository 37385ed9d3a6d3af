"""`sql-ros verify stops`: stop a moving arm while its actor is hindered."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from sql_ros.common.argument_types import positive

SUITE = "stops"
SHOWN_EVERY = 10  # number of stops between two lines of progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the suite."""
    group = parser.add_argument_group(f"of the suite {SUITE}")
    group.add_argument(
        "--count", type=positive, default=1000, help="number of stops (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Stop simulated arms `--count` times while their actors are hindered; print each failed stop
    as it happens, then the figures. With `--json` also write the figures.

    Returns:
        Exit code 1 if a stop fails, otherwise 0.
    """
    from sql_ros.checks.processes import FIRST_DOMAIN
    from sql_ros.checks.stops.stops import StopResults, stop_arms
    from sql_ros.common.figures_json import write_figures

    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    results = StopResults()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sql_ros_stops_") as temporary:
        for result in stop_arms(args.count, args.seed, FIRST_DOMAIN, Path(temporary)):
            results.all.append(result)
            took = f"[{time.monotonic() - began:5.0f} s]"
            if result in results.failed:
                print(f"{took} failed: {result}", flush=True)
            if len(results.all) % SHOWN_EVERY == 0:
                print(
                    f"{took} {len(results.all)} stops, {len(results.failed)} failed",
                    flush=True,
                )
    figures = {**results.figures(), "seconds": time.monotonic() - began}
    for name, value in figures.items():
        print(f"  {name:42s} {value:.6g}")
    if args.json:
        write_figures(args.json, figures, args.seed)
    return int(bool(results.failed))
