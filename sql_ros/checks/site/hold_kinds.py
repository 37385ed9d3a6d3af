"""The kinds of holds: those of the code, and their rows in the table of docs/ur5e.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from sql_ros.checks.site.markdown import table
from sql_ros.common.errors import ConfigError
from sql_ros.nodes.guard import FAULTS

GUIDE = "docs/ur5e.md"
TITLE = "## What to do when it holds"


def kinds_of_code(root: Path) -> dict[str, set[str]]:
    """Return the kinds of holds that the code has, each with the files that name it.

    Args:
        root: Folder of the repository.
    """
    rooms = [*(root / "sql_ros/nodes").glob("*.py"), *(root / "sql_ros/robot").rglob("*.py")]
    found: dict[str, set[str]] = {kind: set() for kind in FAULTS if kind}
    for path in sorted(path for path in rooms if "reasons" in path.read_text()):
        for kind in filter(None, _kinds(path)):
            found.setdefault(kind, set()).add(str(path.relative_to(root / "sql_ros")))
    return found


def rows_of_guide(root: Path) -> dict[str, list[list[str]]]:
    """Return the rows of the guide's table, for each kind that their first cells name.

    Args:
        root: Folder of the repository.
    """
    lines = (root / GUIDE).read_text().split(TITLE)[1].splitlines()
    rows: dict[str, list[list[str]]] = {}
    for line in lines:
        cells = re.split(r" \| ", line.strip("| "))
        if line.startswith("| ") and len(cells) == 3:
            for kind in re.findall(r"`([a-z_]+)`", cells[0]):
                rows.setdefault(kind, []).append(cells)
    return rows


def holds_page(root: Path) -> str:
    """Return the page of all kinds of holds, in the order of the alphabet.

    Args:
        root: Folder of the repository.

    Raises:
        ConfigError: A kind of the code has no row in the guide.
    """
    guide = rows_of_guide(root)
    rows = []
    for kind, files in sorted(kinds_of_code(root).items()):
        if kind not in guide:
            raise ConfigError(f"hold kind '{kind}' has no row in {GUIDE}")
        where = ", ".join(f"`{file}`" for file in sorted(files))
        for _, cause, remedy in guide[kind]:
            rows.append((f"`{kind}`", _moved(cause), _moved(remedy), where))
    return f"""# Kinds of holds

While one of these reasons lasts, the actor brakes the arm and keeps it at rest. The terminal and
`/diagnostics` name the kind. [Safety](../safety.md#watchdogs-and-holds) explains the design.
{table(["kind", "cause", "what to do", "file"], rows)}"""


def _moved(text: str) -> str:
    """Return the text of a page in docs/ with its links as they are in docs/reference/."""
    linked = re.sub(r"\]\((?=[\w.]+\.md)", "](../", text)
    return re.sub(r"\]\(#", "](../ur5e.md#", linked)


def _kinds(path: Path) -> Iterator[str]:
    """Yield keys of dicts with one entry, of `reasons[...] = `, and kinds of distrust.

    Args:
        path: A Python file.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Dict(keys=[ast.Constant(value=str(kind))]):
                yield kind
            case ast.Assign(
                targets=[
                    ast.Subscript(value=ast.Name(id="reasons"), slice=ast.Constant(value=str(kind)))
                ]
            ):
                yield kind
            case ast.Assign(
                targets=[ast.Attribute(attr="_distrust")],
                value=ast.Tuple(elts=[ast.Constant(value=str(kind)), *_]),
            ):
                yield kind
            case ast.Call(
                func=ast.Attribute(attr="_begin_distrust"),
                args=[ast.Constant(value=str(kind)), *_],
            ):
                yield kind
