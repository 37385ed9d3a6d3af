"""What setup.py installs beside the package."""

import shutil
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def _files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_all_under_config_and_sim_is_installed_as_it_lies_there(tmp_path):
    """Also the meshes of an arm of one's own."""
    source, installed = tmp_path / "source", tmp_path / "installed"
    for name in ("config", "sim", "launch", "scripts", "resource"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("setup.py", "setup.cfg", "package.xml"):
        shutil.copy(ROOT / name, source)
    mesh = source / "sim/robots/meshes/visual/link.stl"
    mesh.parent.mkdir(parents=True)
    mesh.write_bytes(b"solid")
    command = [
        sys.executable,
        "setup.py",
        "--quiet",
        "install_data",
        "--install-dir",
        str(installed),
    ]
    result = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for name in ("config", "sim"):
        assert _files(installed / "share/sql_ros" / name) == _files(source / name)


def _requirements(tmp_path: Path) -> dict[str, Requirement]:
    """Return what the package and its extras `report` and `learner` require, by name."""
    command = [sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    sections = (tmp_path / "sql_ros.egg-info/requires.txt").read_text().split("\n\n")
    wanted = [
        part
        for part in sections
        if not part.startswith("[") or part.split("\n")[0] in ("[report]", "[learner]")
    ]
    found = [
        Requirement(line)
        for part in wanted
        for line in part.splitlines()
        if line and not line.startswith("[")
    ]
    return {requirement.name.lower(): requirement for requirement in found}


def test_the_packages_of_ubuntu_24_04_satisfy_the_requirements(tmp_path):
    """What pip finds satisfied it leaves alone.

    Ml_dtypes 0.6, which onnx would bring, needs numpy 2.
    """
    required = _requirements(tmp_path)
    ubuntu = {
        "numpy": "1.26.4",
        "matplotlib": "3.6.3",
        "pyyaml": "6.0.1",
        "pillow": "10.2.0",
        "rich": "13.7.1",
    }
    assert not [name for name, version in ubuntu.items() if version not in required[name].specifier]
    assert "0.6.0" not in required["ml_dtypes"].specifier
    assert not [name for name, each in required.items() if "==" in str(each.specifier)]


def test_requirements_of_the_learner_pin_nothing_and_are_those_of_setup(tmp_path):
    required = _requirements(tmp_path)
    for line in _lines("learner.txt"):
        listed = Requirement(line)  # an option such as -c is none
        assert listed.specifier == required[listed.name].specifier, line


def test_constraints_pin_every_requirement_that_has_a_range(tmp_path):
    pinned = {Requirement(line).name.lower() for line in _lines("constraints.txt")}
    assert set(_requirements(tmp_path)) <= pinned | {"ml_dtypes"}


def _lines(name: str) -> list[str]:
    return [
        line
        for line in (ROOT / "requirements" / name).read_text().splitlines()
        if not line.startswith("#")
    ]
