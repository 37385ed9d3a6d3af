"""Read a URDF for MuJoCo: meshes are found by their paths, and every link becomes a body."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree

import mujoco

from sql_ros.common.errors import ConfigError

READABLE = (".stl", ".obj", ".msh")  # mesh files that MuJoCo reads
PACKAGE = "package://"
XACRO = "{http://www.ros.org/wiki/xacro}"  # namespace of the elements of a xacro
FILE = "file://"
UNREADABLE_M = 1e-3  # radius of a sphere in place of a visual mesh that cannot be read
BAD_INERTIA = ("mass and inertia of moving bodies", "inertia must")  # in errors of MuJoCo
ELEMENT = re.compile(r"Element name '([^']*)'")  # in an error of MuJoCo
ROOT = "world"  # name of the link that MuJoCo makes the world


def read_urdf(path: Path, root: ElementTree.Element) -> mujoco.MjSpec:
    """Return the MuJoCo specification of a URDF.

    Visuals whose mesh does not exist, or has another type than `READABLE`, become tiny spheres: a
    link whose shapes are all left out would count as a mere frame.

    Args:
        path: URDF file. Paths of meshes are relative to its folder, or begin with `PACKAGE`.
        root: Element `<robot>` of the file, which is changed.

    Raises:
        ConfigError: A collision mesh does not exist or has another type than `READABLE`, or MuJoCo
            does not accept the URDF.
    """
    if any(str(element.tag).startswith(XACRO) for element in root.iter()):
        raise ConfigError(
            f"{path} is a xacro, expected a URDF: `sql-ros import-robot` takes it and writes the"
            " URDF, if its name ends with .xacro"
        )
    for geometry in root.iterfind("link/visual/geometry"):
        mesh = geometry.find("mesh")
        if mesh is not None and mesh_file(mesh, path) is None:
            geometry.remove(mesh)
            ElementTree.SubElement(geometry, "sphere", radius=f"{UNREADABLE_M:g}")
    for mesh in root.iter("mesh"):
        file = mesh_file(mesh, path)
        if file is None:
            raise ConfigError(f"URDF {path}: {_fault(mesh.get('filename', ''), path)}")
        mesh.set("filename", str(file))
    _add_world(root)
    _set_compiler(root)
    try:
        return mujoco.MjSpec.from_string(ElementTree.tostring(root, "unicode"))
    except ValueError as error:
        raise ConfigError(f"URDF {path}: {compile_fault(error)}") from None


def compile_fault(error: ValueError) -> str:
    """Return an error of MuJoCo's compiler in one line. For a body without a usable inertia the
    line says what to do.

    Args:
        error: Error with which `MjSpec.compile` or `MjSpec.from_string` ended.
    """
    text = " ".join(str(error).split())
    if not any(words in text for words in BAD_INERTIA):
        return text
    body = ELEMENT.search(text)
    return (
        f"the link or body '{body[1] if body else ''}' has no usable mass and inertia, although a"
        " joint moves it: give it an <inertial> with a mass above 0 and a positive definite"
        " inertia"
    )


def _add_world(root: ElementTree.Element) -> None:
    """Fix the root link to a new link `world`, because MuJoCo would merge the root link with its
    world.

    Nothing is done if there is not exactly one root link, or if this one is called `world`.

    Args:
        root: Element `<robot>` of a URDF, which is changed.
    """
    children = {child.get("link") for child in root.iterfind("joint/child")}
    roots = [name for link in root.findall("link") if (name := link.get("name")) not in children]
    if len(roots) != 1 or roots[0] in (None, ROOT):
        return  # MuJoCo reports several roots
    joint = ElementTree.SubElement(root, "joint", name=f"{ROOT}_to_{roots[0]}", type="fixed")
    ElementTree.SubElement(joint, "parent", link=ROOT)
    ElementTree.SubElement(joint, "child", link=roots[0])
    root.insert(0, ElementTree.Element("link", name=ROOT))


def _set_compiler(root: ElementTree.Element) -> None:
    """Set the options of MuJoCo's compiler in a URDF.

    Every link, every visual and the paths of meshes are kept. Inertias that no body can have are
    repaired (`balanceinertia`).

    Args:
        root: Element `<robot>` of a URDF, which is changed.
    """
    extension = root.find("mujoco")
    if extension is None:
        extension = ElementTree.SubElement(root, "mujoco")
    compiler = extension.find("compiler")
    if compiler is None:
        compiler = ElementTree.SubElement(extension, "compiler")
    compiler.attrib.pop("meshdir", None)
    compiler.attrib |= {
        "strippath": "false",
        "fusestatic": "false",
        "discardvisual": "false",
        "balanceinertia": "true",
    }


def _fault(name: str, urdf: Path) -> str:
    """Return why a collision mesh cannot be read, and what to do.

    Args:
        name: Name of the mesh in the URDF.
        urdf: URDF file.
    """
    readable = ", ".join(READABLE)
    found = next((file for file in _mesh_candidates(name, urdf) if file.is_file()), None)
    if found is not None:
        return (
            f"MuJoCo reads no collision mesh of the type of {found}, expected {readable}: write it"
            f" as one of them (assimp export {found.name} {found.stem}.stl, or Blender), and name"
            " that file in the URDF"
        )
    if name.startswith(PACKAGE):
        package = name.removeprefix(PACKAGE).partition("/")[0]
        if not package_folders(package, urdf):
            return (
                f"collision mesh '{name}': package '{package}' not found in the ament index, in"
                " ROS_PACKAGE_PATH and in the folders above the URDF: source its workspace, or name"
                " the folder of its sources in ROS_PACKAGE_PATH"
            )
    looked = ", ".join(str(file) for file in _mesh_candidates(name, urdf))
    return f"collision mesh '{name}': no such file: {looked}"


def mesh_file(mesh: ElementTree.Element, urdf: Path) -> Path | None:
    """Return the absolute path of the file that an element `<mesh>` names.

    Args:
        mesh: The element.
        urdf: URDF file that has the element.

    Returns:
        The first existing file with a type of `READABLE` among the candidates; None if there is
        none.
    """
    for candidate in _mesh_candidates(mesh.get("filename", ""), urdf):
        if candidate.suffix.lower() in READABLE and candidate.is_file():
            return candidate.resolve()
    return None


def _mesh_candidates(name: str, urdf: Path) -> list[Path]:
    """Return the paths that the name of a mesh may mean, the likeliest first.

    A name with `PACKAGE` is in one of the folders of `package_folders`. Another one is relative to
    the folder of the URDF.

    Args:
        name: Name of the mesh in the URDF.
        urdf: URDF file.
    """
    if name.startswith(PACKAGE):
        package, _, inside = name.removeprefix(PACKAGE).partition("/")
        return [folder / inside for folder in package_folders(package, urdf)]
    return [urdf.parent / name.removeprefix(FILE)]


def package_folders(package: str, file: Path) -> list[Path]:
    """Return existing folders that may be the folder of a ROS package, the likeliest first.

    First come the share folders of AMENT_PREFIX_PATH. For each folder of ROS_PACKAGE_PATH follow
    the folder of this name in it and the folder itself. Last come folders near a file.

    Args:
        package: Name of the package.
        file: File that refers to the package. A folder above the file counts if it has the name of
            the package, or a package.xml with this name. A folder of this name inside a folder
            above the file counts, too.
    """
    found = [
        Path(prefix) / "share" / package
        for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
        if prefix
    ]
    for place in os.environ.get("ROS_PACKAGE_PATH", "").split(os.pathsep):
        if place:
            found += [Path(place) / package, Path(place)]
    for folder in file.resolve().parents:
        if folder.name == package or _package_name(folder) == package:
            found.append(folder)
        found.append(folder / package)
    return [folder for folder in found if folder.is_dir()]


def _package_name(folder: Path) -> str:
    """Return the package name in the package.xml of a folder; empty if there is none."""
    try:
        return (ElementTree.parse(folder / "package.xml").getroot().findtext("name") or "").strip()
    except (OSError, ElementTree.ParseError):
        return ""
