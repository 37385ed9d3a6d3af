"""Write and read the results of trials as rows of a CSV file.

Each row is written as soon as its trial is over, so an aborted session keeps its results.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from sql_ros.common.errors import ConfigError
from sql_ros.trials.protocol import UNITS
from sql_ros.trials.trial import TrialResult

COLUMNS = tuple(field.name for field in fields(TrialResult))


def append_rows(path: Path, rows: list[TrialResult]) -> None:
    """Append rows to a CSV file; create it, its folder and its heading if it is missing.

    An existing file keeps its columns; values without a column in it are left out.

    Args:
        path: Path of the file.
        rows: Results to append.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = _heading(path) or COLUMNS
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _heading(path: Path) -> list[str]:
    """Return the columns of a CSV file; empty if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return next(csv.reader(file), [])


def read_rows(path: Path) -> list[TrialResult]:
    """Return the results in a CSV file, in its order.

    Args:
        path: Path of the file.

    Raises:
        ConfigError: The file cannot be read, or is no table of trials.
    """
    try:
        with path.open(newline="") as file:
            return [_row(cells) for cells in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{path} is no table of trials: {error!r}; expected the columns {', '.join(COLUMNS)}"
        ) from None


def _row(cells: Mapping[str, str]) -> TrialResult:
    """Return the result in a row.

    Args:
        cells: Name of the column to text. The columns `push_seen_by` and `outcome` may be
            missing.

    Raises:
        KeyError: Another column is missing.
        ValueError: A text is not a number.
    """
    return TrialResult(
        kind=cells["kind"],
        size=float(cells["size"]),
        repeat=int(cells["repeat"]),
        seed=int(cells["seed"]),
        success=cells["success"] == "True",
        recovery_s=float(cells["recovery_s"]),
        deviation_m=float(cells["deviation_m"]),
        interventions=int(cells["interventions"]),
        policy_sha256=cells["policy_sha256"],
        push_seen_by=cells.get("push_seen_by") or "",  # missing in files of former releases
        outcome=cells.get("outcome") or "",
    )


def describe(row: TrialResult) -> str:
    """Return a line of text that describes a result to the user."""
    size = f" {row.size:g} {UNITS[row.kind]}" if UNITS[row.kind] else ""
    outcome = f"recovered in {row.recovery_s:.1f} s" if row.success else "did not recover"
    away = "" if math.isnan(row.deviation_m) else f", {1e3 * row.deviation_m:.0f} mm away at most"
    return f"{row.kind}{size}: {outcome}{away}, {row.interventions} interventions"
