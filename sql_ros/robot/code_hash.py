"""The hash of a task's code, by which a policy and a run name the code that they were trained with.

Comments, docstrings and the layout of the code have no influence, nor has the version of Python.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sql_ros.robot.task import Task

DIGITS = 16  # hexadecimal digits of a hash


def code_hash(task: type[Task]) -> str:
    """Return the hash of a task's code: the first `DIGITS` hexadecimal digits of a SHA-256.

    The code is that of the modules of the class and of its bases up to `Task`, and of the modules
    in the same folders that they import. The names of the files have no influence.

    Args:
        task: Class of the task.

    Returns:
        The hash; empty if there is no source, as for a class that was typed into a prompt.
    """
    bases = [base for base in task.__mro__ if issubclass(base, Task) and base is not Task]
    files = {getattr(sys.modules.get(base.__module__), "__file__", None) for base in bases}
    if None in files:
        return ""
    waiting = [Path(str(file)).resolve() for file in files]
    seen: dict[Path, str] = {}
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            return ""
        seen[file] = hashlib.sha256(json.dumps(_canonical(tree)).encode()).hexdigest()
        waiting += _imports_beside(tree, file.parent)
    return hashlib.sha256("".join(sorted(seen.values())).encode()).hexdigest()[:DIGITS]


def _canonical(value: Any) -> Any:
    """Return a part of a syntax tree as plain lists, without positions and docstrings.

    Empty fields are left out, because versions of Python differ in them.
    """
    if isinstance(value, ast.AST):
        fields = [
            [name, _canonical(child)]
            for name, child in ast.iter_fields(value)
            if child is not None and name not in ("kind", "type_comment")
        ]
        return [type(value).__name__, *[field for field in fields if field[1] != []]]
    if isinstance(value, list):
        return [_canonical(item) for item in value if not _is_docstring(item)]
    return repr(value)


def _is_docstring(node: Any) -> bool:
    """Return whether a node is a statement that is a string alone."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _imports_beside(tree: ast.AST, folder: Path) -> Iterator[Path]:
    """Yield the files in a folder whose modules are imported.

    Args:
        tree: Syntax tree of the importing module.
        folder: Its folder.
    """
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(alias.name for alias in node.names)}
    for name in sorted(names):
        file = folder / f"{name.rpartition('.')[2]}.py"
        if file.is_file():
            yield file.resolve()
