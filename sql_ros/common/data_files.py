"""Find the data files (config, launch, sim): in a checkout, after pip install or colcon build."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sql_ros.common.errors import ConfigError


def share_folder() -> Path:
    """Return the folder that contains config/, launch/ and sim/.

    Raises:
        ConfigError: The data files were not installed beside the package.
    """
    package = Path(__file__).resolve().parents[1]
    if (package.parent / "package.xml").is_file() and (package.parent / "sim").is_dir():
        return package.parent  # a checkout, also through an editable install
    for parent in package.parents:
        if (parent / "share" / "sql_ros" / "package.xml").is_file():
            return parent / "share" / "sql_ros"  # <prefix>/lib/python3.x/site-packages/sql_ros
    raise ConfigError(
        f"no share/sql_ros above {package}: install with pip install . or colcon build, or run from"
        " a checkout"
    )


def find_file(name: str, folder: str, suffix: str = ".yaml") -> Path:
    """Return the path of a data file, e.g. `find_file("sawyer_reach", "config/tasks")`.

    Args:
        name: A path, which has a slash or the suffix, or a name, which has neither.
        folder: Folder below the share folder, in which a name is looked up.
        suffix: Suffix of the files in this folder.

    Raises:
        ConfigError: There is no such file; the error lists the names in the folder. Or the data
            files are not installed.
    """
    path = (
        Path(name)
        if "/" in name or name.endswith(suffix)
        else share_folder() / folder / (name + suffix)
    )
    if not path.is_file():
        known = ", ".join(
            sorted(p.name[: -len(suffix)] for p in (share_folder() / folder).glob("*" + suffix))
        )
        raise ConfigError(f"'{name}' is neither a file nor one of: {known} (in {folder}/)")
    return path


def find_beside(name: str, folder: Path | None) -> Path:
    """Return a file that another file names.

    Args:
        name: Absolute path, or a path relative to `folder`, to the share folder or to the working
            folder; the first that exists counts.
        folder: Folder of the file that names it; None: it is not known.

    Raises:
        ConfigError: There is no such file.
    """
    places = [place for place in (folder, share_folder(), Path()) if place is not None]
    for place in places:
        if (place / name).is_file():
            return place / name
    looked = " or ".join(str(place.resolve()) for place in places)
    raise ConfigError(f"there is no file '{name}', looked for in {looked}")


def resolve_beside(values: dict[str, Any], keys: Sequence[str], source: Path) -> None:
    """Make paths that a file gives relative to its own folder absolute.

    Args:
        values: Content of the file, which is changed.
        keys: Keys whose values may be paths. One that is no file there is left alone.
        source: The file.
    """
    for key in keys:
        beside = source.parent / str(values.get(key) or ".")
        if beside.is_file():
            values[key] = str(beside.resolve())


def find_policies(names: str) -> tuple[Path, ...]:
    """Return the paths of policy files.

    Args:
        names: Paths or names, see `find_policy`, with commas between them; empty: none.

    Raises:
        ConfigError: One of them is no such file.
    """
    if not names:
        return ()
    parts = [names] if Path(names).is_file() else names.split(",")
    return tuple(find_policy(part.strip()) for part in parts)


def find_policy(name: str) -> Path:
    """Return the path of a policy file.

    Args:
        name: A path, or a name in config/policies/ without its suffix.

    Raises:
        ConfigError: There is no such file; the error lists the names in config/policies/.
    """
    path = Path(name)
    return path if path.is_file() else find_file(name, "config/policies", ".onnx")
