"""Trials as lines of a CSV file: written one by one, so that an aborted session keeps what was measured."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from sql_ros.core.errors import ConfigError
from sql_ros.robot.trials import UNITS, Row

COLUMNS = tuple(field.name for field in fields(Row))


def append_rows(path: Path, rows: list[Row]) -> None:
    """Add lines to a CSV file, the heading first where it is new; an older file keeps its columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = _heading(path) or COLUMNS
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _heading(path: Path) -> list[str]:
    """Return the columns of a file; none where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return next(csv.reader(file), [])


def read_rows(path: Path) -> list[Row]:
    """The lines of a CSV file.

    Raises:
        ConfigError: it cannot be read, or is no table of trials.
    """
    try:
        with path.open(newline="") as file:
            return [_row(cells) for cells in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} is no table of trials: {error!r}; expected the columns {', '.join(COLUMNS)}") from None


def _row(cells: Mapping[str, str]) -> Row:
    return Row(
        kind=cells["kind"],
        size=float(cells["size"]),
        repeat=int(cells["repeat"]),
        seed=int(cells["seed"]),
        success=cells["success"] == "True",
        recovery_s=float(cells["recovery_s"]),
        deviation_m=float(cells["deviation_m"]),
        interventions=int(cells["interventions"]),
        policy_sha256=cells["policy_sha256"],
        push_seen_by=cells.get("push_seen_by") or "",  # files of former releases lack it
    )


def line(row: Row) -> str:
    """A trial in words."""
    size = f" {row.size:g} {UNITS[row.kind]}" if UNITS[row.kind] else ""
    outcome = f"recovered in {row.recovery_s:.1f} s" if row.success else "did not recover"
    away = "" if math.isnan(row.deviation_m) else f", {1e3 * row.deviation_m:.0f} mm away at most"
    return f"{row.kind}{size}: {outcome}{away}, {row.interventions} interventions"
