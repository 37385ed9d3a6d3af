"""`sql-ros compose`: make one policy of several trained skills, by the weighted sum of their
Q-functions and without further training.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sql_ros.common.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="run folders with checkpoints/, of one temperature",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="ONNX file to write"
    )
    parser.add_argument(
        "--weights",
        type=float,
        nargs="+",
        metavar="W",
        help="weight of each Q (default: their mean; 1 each gives a sharper policy)",
    )
    parser.add_argument(
        "--task", metavar="NAME", help="task of the policy (default: that of the first run)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the composed policy to the ONNX file `--out`; create its folder.

    Returns:
        Exit code 0.

    Raises:
        SqlRosError: A run has no checkpoint; the runs differ in observations, actions or
            temperature; or the number of weights is not that of the runs.
    """
    from dataclasses import replace

    from sql_ros.learning.export import export_composition
    from sql_ros.learning.trainer import load_learner

    learners, specs = zip(*(load_learner(run / "checkpoints") for run in args.runs))
    spec = replace(specs[0], task=args.task or specs[0].task)
    for run, other in zip(args.runs[1:], specs[1:]):
        if differences := replace(spec, task=other.task).differences(json.loads(other.to_json())):
            raise ConfigError(
                f"{run} observes or acts otherwise than {args.runs[0]}: {differences}"
            )
    weights = args.weights or [1.0 / len(learners)] * len(learners)
    policy = export_composition(learners, weights, spec)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_bytes(policy)
    print(
        f"{args.out}: {len(learners)} skills, weights"
        f" {', '.join(f'{weight:g}' for weight in weights)}, task {spec.task}"
    )
    return 0
