"""What setup.py installs beside the package."""

import shutil
import subprocess
import sys
from pathlib import Path

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
    command = [sys.executable, "setup.py", "--quiet", "install_data", "--install-dir", str(installed)]
    result = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for name in ("config", "sim"):
        assert _files(installed / "share/sql_ros" / name) == _files(source / name)
