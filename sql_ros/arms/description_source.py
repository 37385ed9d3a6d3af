"""Import an arm whose description is no URDF or MJCF yet: a xacro, or the text of a topic."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

from sql_ros.arms.import_robot import ImportedArm, check_is_new, import_robot
from sql_ros.common.errors import ConfigError
from sql_ros.robot.urdf import FILE, mesh_file, package_folders

XACRO = ".xacro"
DESCRIPTION = "description.urdf"  # in the folder of the arm
TOPIC = "robot_description"  # last part of the name of a topic with a URDF
# how ament_index_python ends where it does not know a package
UNKNOWN_PACKAGE = re.compile(r"package '([^']+)' not found")


def is_topic(description: str) -> bool:
    """Return whether a description is the name of a topic: `TOPIC`, in any namespace, and no
    file.
    """
    return description.rpartition("/")[2] == TOPIC and not Path(description).is_file()


def import_text(text: str, near: Path, out: Path, tool: str = "", prefix: str = "") -> ImportedArm:
    """Write a URDF into the folder of a new arm, with absolute paths of its meshes, and import it.

    Args:
        text: The URDF.
        near: File whose folder relative paths of meshes begin at, and from which packages are
            looked for upwards.
        out: Folder of the arm, see `import_robot`.
        tool: See `import_robot`.
        prefix: See `import_robot`.

    Raises:
        ConfigError: The text is no XML, or the arm cannot be imported. No file is left then.
    """
    check_is_new(out)
    out.mkdir(parents=True, exist_ok=True)
    file = out / DESCRIPTION
    file.write_text(_with_absolute_meshes(text, near))
    try:
        return import_robot(file, out, tool, prefix)
    except ConfigError:
        file.unlink()
        raise


def expand_xacro(path: Path, arguments: Sequence[str] = ()) -> str:
    """Return the URDF of a xacro, with absolute paths of its meshes.

    `$(find PACKAGE)` is looked up as `package://` is: in the ament index first, then in
    ROS_PACKAGE_PATH and in the folders above the file.

    Args:
        path: The xacro file.
        arguments: Its arguments, each as NAME:=VALUE.

    Raises:
        ConfigError: xacro is not installed, an argument has another form, or the file cannot be
            expanded.
    """
    try:
        import xacro
    except ImportError:
        raise ConfigError(
            f"{path}: xacro is not installed: pip install xacro. Or give the URDF that"
            f" `xacro {path.name}` writes on another machine"
        ) from None
    for word in arguments:
        if ":=" not in word:
            raise ConfigError(f"'{word}' is no argument of a xacro, expected NAME:=VALUE")
    mappings = dict(word.split(":=", 1) for word in arguments)
    with _packages() as prefix:
        known: set[str] = set()
        while True:
            try:
                text = str(xacro.process_file(str(path), mappings=mappings).toxml())
                return _with_absolute_meshes(text, path)
            # a xacro evaluates expressions of Python, which may raise anything
            except Exception as error:
                package = _unknown_package(error)
                if not package or package in known or not _add_package(prefix, package, path):
                    raise ConfigError(_one_line(path, error)) from None
                known.add(package)


@contextmanager
def _packages() -> Iterator[Path]:
    """Put an empty prefix on AMENT_PREFIX_PATH for a `with` block, to which packages are added.

    Yields:
        Its folder, which is removed at the end.
    """
    before = os.environ.get("AMENT_PREFIX_PATH")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AMENT_PREFIX_PATH"] = os.pathsep.join(filter(None, (before, folder)))
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["AMENT_PREFIX_PATH"]
            else:
                os.environ["AMENT_PREFIX_PATH"] = before


def _add_package(prefix: Path, package: str, file: Path) -> bool:
    """Add a package of source files to a prefix of the ament index; return whether it was found.

    Args:
        prefix: Folder of the prefix.
        package: Name of the package.
        file: File that refers to it, see `package_folders`.
    """
    folders = package_folders(package, file)
    if not folders:
        return False
    index = prefix / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True, exist_ok=True)
    (index / package).touch()
    (prefix / "share" / package).symlink_to(folders[0].resolve())
    return True


def _unknown_package(error: Exception) -> str:
    """Return the name of the package that a xacro could not find; empty for another error."""
    found = UNKNOWN_PACKAGE.search(str(error))
    return found[1] if found else ""


def _one_line(path: Path, error: Exception) -> str:
    """Return the error of a xacro in one line, with the file and what to do."""
    text = " ".join(str(error).split()) or type(error).__name__
    if _unknown_package(error):
        text += ": source its workspace, or name the folder of its sources in ROS_PACKAGE_PATH"
    if "Undefined substitution argument" in text:
        text += ": give it as NAME:=VALUE"
    return f"xacro {path}: {text}"


def _with_absolute_meshes(text: str, near: Path) -> str:
    """Return a URDF in which the meshes that are found have absolute paths.

    Args:
        text: The URDF.
        near: See `import_text`.

    Raises:
        ConfigError: The text is no XML.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ConfigError(f"{near}: no URDF: {error}") from None
    for mesh in root.iter("mesh"):
        file = mesh_file(mesh, near)
        if file is not None:
            mesh.set("filename", f"{FILE}{file}")
    return ElementTree.tostring(root, "unicode")
