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
from typing import Any, NamedTuple

from sql_ros.common.errors import ConfigError
from sql_ros.robot.task import Task

DIGITS = 16  # hexadecimal digits of a hash


def code_hash(task: type[Task]) -> str:
    """Return the hash of a task's code: the first `DIGITS` hexadecimal digits of a SHA-256.

    The code is that of the modules of the class and of its bases up to `Task`, and of the modules
    and packages in the same folders that they import. The names of the files have no influence.

    Args:
        task: Class of the task.

    Returns:
        The hash; empty if there is no source, as for a class that was typed into a prompt.

    Raises:
        ConfigError: A module of the same name, from elsewhere, is loaded in place of one of them.
    """
    bases = [base for base in task.__mro__ if issubclass(base, Task) and base is not Task]
    files = {getattr(sys.modules.get(base.__module__), "__file__", None) for base in bases}
    if None in files:
        return ""
    waiting = [_Source(Path(str(file)).resolve()) for file in files]
    seen: dict[Path, str] = {}
    while waiting:
        source = waiting.pop()
        if source.file in seen:
            continue
        source.check_is_loaded()
        try:
            tree = ast.parse(source.file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            return ""
        digest = hashlib.sha256(json.dumps(_canonical(tree)).encode()).hexdigest()
        seen[source.file] = digest
        waiting += _imports_beside(tree, source.file.parent)
    return hashlib.sha256("".join(sorted(seen.values())).encode()).hexdigest()[:DIGITS]


class _Source(NamedTuple):
    """A file of a task's code.

    Attributes:
        file: Its resolved path.
        module: Name by which another file imports it; empty: a relative import, or none.
    """

    file: Path
    module: str = ""

    def check_is_loaded(self) -> None:
        """Check that no other file was loaded by the name of this module.

        Raises:
            ConfigError: One was, as by another task before.
        """
        loaded = getattr(sys.modules.get(self.module), "__file__", None)
        if self.module and loaded and Path(loaded).resolve() != self.file:
            raise ConfigError(
                f"the task imports {self.module!r}, which is {loaded} in this process and not"
                f" {self.file}: rename one of the two files"
            )


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


def _imports_beside(tree: ast.AST, folder: Path) -> Iterator[_Source]:
    """Yield the files of the modules and packages in a folder that are imported.

    An absolute name is looked up in the folder, by its whole name and by its last part. The last
    part finds a neighbour in a package (`my_package.helpers` beside `my_package.tasks`).

    Args:
        tree: Syntax tree of the importing module.
        folder: Its folder.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _sources(folder, alias.name, is_absolute=True)
        elif isinstance(node, ast.ImportFrom):
            start = folder.joinpath(*[".."] * (node.level - 1)).resolve() if node.level else folder
            prefix = f"{node.module}." if node.module else ""
            for alias in node.names:
                yield from _sources(start, f"{prefix}{alias.name}", is_absolute=not node.level)


def _sources(folder: Path, name: str, *, is_absolute: bool) -> Iterator[_Source]:
    """Yield the files that an import of a dotted name loads from a folder; the last part may be a
    name in a module.

    Args:
        folder: The folder.
        name: Dotted name.
        is_absolute: Whether the name begins at the path of imports.
    """
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        place = folder.joinpath(*parts[:count])
        module = ".".join(parts[:count]) if is_absolute else ""
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                yield _Source(file.resolve(), module)
    for part in parts[-2:] if is_absolute and len(parts) > 1 else []:
        neighbour = folder / f"{part}.py"
        if neighbour.is_file():
            yield _Source(neighbour.resolve())
