"""The guide says what to do at every kind of hold that the code has."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from sql_ros.nodes.guard import FAULTS
from sql_ros.robot.safety import state_watchdog, stop_latch

ROOT = Path(__file__).parents[1]


def _kinds(path: Path) -> Iterator[str]:
    """Yield keys of dicts with one entry, of `reasons[...] = `, and kinds of distrust."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Dict(keys=[ast.Constant(value=str(kind))]):
                yield kind
            case ast.Assign(
                targets=[
                    ast.Subscript(value=ast.Name(id="reasons"), slice=ast.Constant(value=kind))
                ]
            ):
                yield kind
            case ast.Assign(
                targets=[ast.Attribute(attr="_distrust")],
                value=ast.Tuple(elts=[ast.Constant(value=kind), *_]),
            ):
                yield kind
            case ast.Call(
                func=ast.Attribute(attr="_begin_distrust"), args=[ast.Constant(value=kind), *_]
            ):
                yield kind


def _of_code() -> set[str]:
    rooms = [*(ROOT / "sql_ros/nodes").glob("*.py"), *(ROOT / "sql_ros/robot").rglob("*.py")]
    found = {kind for path in rooms if "reasons" in path.read_text() for kind in _kinds(path)}
    return (found | FAULTS.keys()) - {""}  # the parameters of a node without a section


def _of_guide() -> set[str]:
    table = (ROOT / "docs/ur5e.md").read_text().split("## What to do when it holds")[1]
    first_cells = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    return {kind for cell in first_cells for kind in re.findall(r"`([a-z_]+)`", cell)}


def test_the_guide_has_every_kind_of_hold():
    assert _of_guide() == _of_code()


def test_the_tables_of_watchdog_and_latch_are_complete():
    """So the search in the code finds what it should."""
    for module in (state_watchdog, stop_latch):
        kinds = set(re.findall(r"^`([a-z_]+)`  +", module.__doc__, re.MULTILINE))
        assert len(kinds) >= 6
        assert kinds <= _of_code()
