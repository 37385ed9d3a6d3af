"""Reference pages of the public Python names, the environments and the errors."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator

import gymnasium

import sql_ros
import sql_ros.envs
from sql_ros.checks.site.markdown import code, table
from sql_ros.common import errors
from sql_ros.common.errors import ConfigError


def python_page() -> str:
    """Return the page of the public names, which mkdocstrings fills from their docstrings.

    Raises:
        ConfigError: A public name, or a public method of a public class, has no docstring.
    """
    missing = sorted(undocumented())
    if missing:
        raise ConfigError(f"public names without a docstring: {', '.join(missing)}")
    names = "\n\n".join(f"::: {module}.{name}" for name, module in sorted(sql_ros.PUBLIC.items()))
    ids = [spec for spec in gymnasium.registry.values() if spec.id.startswith("sql_ros/")]
    rows = [(code(spec.id), code(spec.entry_point), str(spec.max_episode_steps)) for spec in ids]
    return f"""# Python

These names are imported from `sql_ros`, such as `from sql_ros import load_policy`. Other names of
the package can change without notice.

{names}

## Environments

`import sql_ros.envs` registers these environments with Gymnasium. `sql_ros/Arm-v0` takes the name
or the path of a task: `gymnasium.make("sql_ros/Arm-v0", task="ur5e_reach")`. Without a number the
task has the length of an episode.
{table(["id", "class", "most steps"], rows)}"""


def errors_page() -> str:
    """Return the page of the errors that the package raises on purpose."""
    text = inspect.cleandoc(errors.__doc__ or "")
    tree = text.split("::\n", 1)[1].split("\n\nThe text")[0].strip("\n")
    classes = [
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == errors.__name__
    ]
    entries = "\n\n".join(f"::: {errors.__name__}.{name}" for name in classes)
    return f"""# Errors

The text of an error says what came, what was expected and where to look. A command shows it in one
line, and its exit code is {errors.CONFIG_EXIT_CODE}.

```text
{tree}
```

{entries}
"""


def undocumented() -> Iterator[str]:
    """Yield the public names of the package, and their public methods, that have no docstring."""
    for name, module in sql_ros.PUBLIC.items():
        value = getattr(importlib.import_module(module), name)
        if not inspect.getdoc(value):
            yield name
        if inspect.isclass(value):
            for member, function in vars(value).items():
                is_code = inspect.isroutine(function) or isinstance(function, property)
                if is_code and not member.startswith("_") and not inspect.getdoc(function):
                    yield f"{name}.{member}"
