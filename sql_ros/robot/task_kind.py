"""Find the class of a task by the `kind` of its file: shipped, installed, or a user's own."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from sql_ros.common.config import shown
from sql_ros.common.errors import ConfigError
from sql_ros.robot.task import Task, TaskConfig

GROUP = "sql_ros.tasks"  # entry points of installed packages: name of the kind = module:Class
SHIPPED = "sql_ros.robot.tasks"  # package of the shipped tasks
DEFAULT_CLASS = "Task"  # where a kind names a module alone


def find_task_class(kind: Any, shipped: Sequence[str], path: Path) -> type[Task]:
    """Return the class of a kind of task.

    Args:
        kind: One of `shipped`; the name of an entry point of the group `GROUP`; or, with or without
            `:Class`, a module that is installed, beside the task file or in the working folder, or
            a Python file relative to the task file.
        shipped: Names of the modules in `SHIPPED`.
        path: The task file.

    Raises:
        ConfigError: There is no such module, file or class; the module raises an exception; or the
            class is no task, or lacks a method.
    """
    if not isinstance(kind, str):
        raise ConfigError(f"{path}: kind {shown(kind)} is not {_known(shipped)}")
    if kind in shipped:
        return _class_of(importlib.import_module(f"{SHIPPED}.{kind}"), DEFAULT_CLASS, path)
    installed = {point.name: point.value for point in entry_points(group=GROUP)}
    place, _, name = installed.get(kind, kind).partition(":")
    if place.endswith(".py"):
        module = _load_file(path.parent / place, path)
    elif all(part.isidentifier() for part in place.split(".")):
        module = _import_module(place, shipped, path)
    else:
        raise ConfigError(f"{path}: kind {shown(kind)} is not {_known(shipped)}")
    return _class_of(module, name or DEFAULT_CLASS, path)


def config_class_of(task: type[Task], path: Path) -> type[TaskConfig]:
    """Return the class of the settings of a task: the annotation of its attribute `config`.

    Args:
        task: Class of the task.
        path: The task file, for errors.

    Raises:
        ConfigError: An annotation of the class cannot be evaluated, or that of `config` is no
            `TaskConfig`.
    """
    with reporting(task, path):
        found = typing.get_type_hints(task)["config"]
    if not (inspect.isclass(found) and issubclass(found, TaskConfig)):
        raise ConfigError(
            f"{path}: the annotation of 'config' in {task.__name__} is {shown(found)}, expected a"
            " subclass of sql_ros.TaskConfig"
        )
    return found


def is_shipped(task: type[Task]) -> bool:
    """Return whether a class of task is one of this package."""
    return task.__module__.startswith(f"{SHIPPED}.")


@contextmanager
def reporting(code: type[Task] | Path, path: Path) -> Iterator[None]:
    """Turn an exception of a user's code into a `ConfigError` of one line, with file and line.

    Args:
        code: Class of the task, or the file of its module.
        path: The task file, which the error names first.

    Raises:
        ConfigError: The body raised an exception.
    """
    try:
        yield
    except ConfigError as error:
        text = str(error)
        raise ConfigError(text if text.startswith(f"{path}: ") else f"{path}: {text}") from None
    except Exception as error:
        file = code if isinstance(code, Path) else Path(inspect.getfile(code))
        reason = " ".join(str(error).split())
        where = _location(error, file.resolve().parent)
        raise ConfigError(f"{path}: {where}: {type(error).__name__}: {reason}") from error


def _location(error: Exception, folder: Path) -> str:
    """Return "file:line" where an exception was raised: the last place in a folder, else the last
    of all.

    Args:
        error: The exception.
        folder: Folder of the user's code.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if folder in Path(frame.filename).resolve().parents]
    frame = (own or frames)[-1]
    return f"{frame.filename}:{frame.lineno}"


def _known(shipped: Sequence[str]) -> str:
    """Return the end of an error about a kind that does not exist."""
    installed = sorted(point.name for point in entry_points(group=GROUP))
    of_packages = f" or, of installed packages: {', '.join(installed)}" if installed else ""
    return (
        f"one of: {', '.join(shipped)}{of_packages}; nor a module beside the task file, in the"
        " working folder or installed (my_package.push:Push), nor a file (./push.py:Push)"
    )


def _import_module(name: str, shipped: Sequence[str], path: Path) -> ModuleType:
    """Import the module of a kind.

    The folder of the task file and the working folder are appended to the path of imports, so that
    they hide nothing.

    Args:
        name: Name of the module.
        shipped: See `find_task_class`.
        path: The task file.

    Raises:
        ConfigError: There is no such module, it raises an exception, or it is another one than that
            beside the task file.
    """
    _append_to_path(path.resolve().parent, Path.cwd())
    try:
        with reporting(path, path):
            module = importlib.import_module(name)
    except ConfigError as error:
        missing = getattr(error.__cause__, "name", None)
        if isinstance(error.__cause__, ModuleNotFoundError) and f"{name}.".startswith(
            f"{missing}."
        ):
            raise ConfigError(
                f"{path}: kind {name!r} is not {_known(shipped)} ({error.__cause__})"
            ) from None
        raise
    beside = path.resolve().parent / f"{name}.py"
    if beside.is_file() and not beside.samefile(str(module.__file__)):
        raise ConfigError(
            f"{path}: kind {name!r} is the module {module.__file__}, but {beside.name} lies beside"
            f" the task file: write ./{beside.name}"
        )
    return module


def _load_file(file: Path, path: Path) -> ModuleType:
    """Load a Python file as a module, whose name contains a hash of path and content.

    A file that was changed is so loaded anew, and two files of one name do not hide each other.

    Args:
        file: The file. It may import modules of its own folder.
        path: The task file, for errors.

    Raises:
        ConfigError: The file cannot be read, or raises an exception.
    """
    file = file.resolve()
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the file of its kind: {error}") from None
    digest = hashlib.sha256(bytes(file) + content).hexdigest()[:16]
    name = f"{file.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None  # as for every name that ends with .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    _append_to_path(file.parent)
    sys.modules[name] = module  # dataclasses look up their module there
    try:
        with reporting(file, path):
            spec.loader.exec_module(module)
    except ConfigError:
        del sys.modules[name]
        raise
    return module


def _append_to_path(*folders: Path) -> None:
    """Append folders to the path of imports, unless they are there."""
    sys.path.extend(str(folder) for folder in folders if str(folder) not in sys.path)


def _class_of(module: ModuleType, name: str, path: Path) -> type[Task]:
    """Return the class of a task from its module.

    Args:
        module: The module.
        name: Name of the class.
        path: The task file, for errors.

    Raises:
        ConfigError: There is no such class, it is no task, or it lacks a method.
    """
    found = getattr(module, name, None)
    if found is None:
        tasks = [
            other
            for other, value in vars(module).items()
            if inspect.isclass(value) and issubclass(value, Task) and value is not Task
        ]
        there = f"it has: {', '.join(tasks)}" if tasks else "nor another subclass of sql_ros.Task"
        raise ConfigError(f"{path}: {module.__file__} has no class '{name}', {there}")
    if not (inspect.isclass(found) and issubclass(found, Task)):
        raise ConfigError(
            f"{path}: {name} of {module.__file__} is no subclass of sql_ros.Task: class"
            f" {name}(Task)"
        )
    if found.__abstractmethods__:
        raise ConfigError(
            f"{path}: class {name} of {module.__file__} lacks the methods"
            f" {', '.join(sorted(found.__abstractmethods__))}"
        )
    return found
