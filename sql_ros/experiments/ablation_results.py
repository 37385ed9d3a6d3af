"""The finished runs of an ablation, and the numbers computed from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sql_ros.common.errors import ConfigError
from sql_ros.common.figures_json import merge_versions
from sql_ros.experiments.contenders import CONTENDERS, PROBLEMS

REFERENCE, ZERO = "sb3 sac", "uniform"  # area under the curve 1 and 0 after normalisation
# environment -> contender -> contents of the files of its runs, in the order of their seeds
Runs = dict[str, dict[str, list[dict[str, Any]]]]


def read_runs(out: Path) -> Runs:
    """Read the files of all finished runs.

    Runs of environments or contenders that are no longer in `PROBLEMS` or `CONTENDERS` are left
    out.

    Args:
        out: Folder of the ablation.

    Returns:
        Contents of the files by environment and contender, in the order of `PROBLEMS` and
        `CONTENDERS`.

    Raises:
        ConfigError: There is no finished run.
    """
    found = [json.loads(path.read_text()) for path in sorted((out / "runs").glob("*/*/*.json"))]
    runs: Runs = {}
    for env in PROBLEMS:
        for name in CONTENDERS:
            mine = [item for item in found if (item["env"], item["contender"]) == (env, name)]
            if mine:
                runs.setdefault(env, {})[name] = sorted(mine, key=lambda item: item["seed"])
    if not runs:
        raise ConfigError(
            f"no finished run in {out / 'runs'}: start one with `sql-ros experiment ablation --out"
            f" {out}`"
        )
    return runs


def summarise(runs: Runs) -> dict[str, Any]:
    """Compute the numbers of every contender on every environment.

    Args:
        runs: Result of `read_runs`.

    Returns:
        "environments": numbers by environment and contender, as `_numbers` returns them, and
        "normalised_auc": 0 for uniform actions, 1 for SAC, None where SAC is not better than
        uniform actions or one of the two has no run. "versions": versions of the packages by name.
        "core_sha256": hashes of the learner's code in the runs, several if the code changed.
    """
    everything = [
        item for contenders in runs.values() for items in contenders.values() for item in items
    ]
    environments = {
        env: {name: _numbers(items) for name, items in contenders.items()}
        for env, contenders in runs.items()
    }
    for contenders in environments.values():
        zero, one = (contenders.get(name, {}).get("auc", np.nan) for name in (ZERO, REFERENCE))
        for numbers in contenders.values():
            numbers["normalised_auc"] = (
                (numbers["auc"] - zero) / (one - zero) if one > zero else None
            )
    return {
        "versions": merge_versions(item["versions"] for item in everything),
        "core_sha256": sorted({item["core_sha256"] for item in everything}),
        "environments": environments,
    }


def area(curve: dict[str, list[float]]) -> float:
    """Return the area under a learning curve divided by its length, a mean return.

    The weight of an evaluation is the number of transitions since the evaluation before.

    Args:
        curve: A `Curve` as a dict, with "steps" and "returns".
    """
    return float(np.average(curve["returns"], weights=np.diff([0, *curve["steps"]])))


def _numbers(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Compute the numbers of one contender on one environment.

    Args:
        items: Contents of the files of its runs.

    Returns:
        "seeds"; "steps": transitions per run; "final_return" and "auc" (mean over the runs) with
        "final_returns" and "aucs" (each run); "final_success": mean over the runs, None where the
        environment knows no success; "train_s" and "train_cpu_s": mean wall and processor time of
        a training [s]; "updates_per_s" and "updates_per_cpu_s": over all runs.
    """
    curves = [item["curve"] for item in items]
    finals = [curve["returns"][-1] for curve in curves]
    areas = [area(curve) for curve in curves]
    successes = [curve["successes"][-1] for curve in curves if curve["successes"]]
    updates = sum(curve["updates"][-1] for curve in curves)
    wall_s, cpu_s = (
        sum(curve[name][-1] for curve in curves) for name in ("train_s", "train_cpu_s")
    )
    return {
        "seeds": [item["seed"] for item in items],
        "steps": curves[0]["steps"][-1],
        "final_return": float(np.mean(finals)),
        "final_returns": finals,
        "auc": float(np.mean(areas)),
        "aucs": areas,
        "final_success": float(np.mean(successes)) if successes else None,
        "train_s": wall_s / len(curves),
        "train_cpu_s": cpu_s / len(curves),
        "updates_per_s": updates / wall_s,
        "updates_per_cpu_s": updates / cpu_s,
    }
