"""The runs of an ablation, finished or not, and the numbers that come of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sql_ros.core.errors import ConfigError
from sql_ros.experiments.contenders import CONTENDERS, PROBLEMS
from sql_ros.runs.figures import joined

REFERENCE, ZERO = "sb3 sac", "uniform"  # area under the curve 1 and 0 after normalisation
Runs = dict[str, dict[str, list[dict[str, Any]]]]  # environment -> contender -> its runs by seed


def read_runs(out: Path) -> Runs:
    """All finished runs, environments and contenders in their declared order, those nobody declares any more left out.

    Raises:
        ConfigError: there is none.
    """
    found = [json.loads(path.read_text()) for path in sorted((out / "runs").glob("*/*/*.json"))]
    runs: Runs = {}
    for env in PROBLEMS:
        for name in CONTENDERS:
            mine = [item for item in found if (item["env"], item["contender"]) == (env, name)]
            if mine:
                runs.setdefault(env, {})[name] = sorted(mine, key=lambda item: item["seed"])
    if not runs:
        raise ConfigError(f"no finished run in {out / 'runs'}: start one with `sql-ros experiment ablation --out {out}`")
    return runs


def summarise(runs: Runs) -> dict[str, Any]:
    """Numbers per environment and contender, and whether one learner's code stands behind them all."""
    everything = [item for contenders in runs.values() for items in contenders.values() for item in items]
    environments = {env: {name: _numbers(items) for name, items in contenders.items()} for env, contenders in runs.items()}
    for contenders in environments.values():
        zero, one = (contenders.get(name, {}).get("auc", np.nan) for name in (ZERO, REFERENCE))
        for numbers in contenders.values():
            numbers["normalised_auc"] = (numbers["auc"] - zero) / (one - zero) if one > zero else None
    return {
        "versions": joined(item["versions"] for item in everything),
        "core_sha256": sorted({item["core_sha256"] for item in everything}),
        "environments": environments,
    }


def area(curve: dict[str, list[float]]) -> float:
    """Area under the curve as a mean return: the evaluations averaged over the transitions that each of them closes."""
    return float(np.average(curve["returns"], weights=np.diff([0, *curve["steps"]])))


def _numbers(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Of one contender on one environment."""
    curves = [item["curve"] for item in items]
    finals = [curve["returns"][-1] for curve in curves]
    areas = [area(curve) for curve in curves]
    successes = [curve["successes"][-1] for curve in curves if curve["successes"]]
    updates = sum(curve["updates"][-1] for curve in curves)
    wall_s, cpu_s = (sum(curve[name][-1] for curve in curves) for name in ("train_s", "train_cpu_s"))
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
