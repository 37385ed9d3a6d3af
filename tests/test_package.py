"""The package as others get it: built, installed into an environment of its own, used anywhere."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("package")
ROOT = Path(__file__).parents[1]
SOURCES = ("sql_ros", "config", "sim", "launch", "scripts", "resource", "requirements")
FILES = ("setup.py", "setup.cfg", "pyproject.toml", "package.xml", "README.md", "LICENSE")
QUICK = """
learner:
  ros__parameters:
    threads: 1
    trainer: {warmup_transitions: 50, replay_capacity: 20000}
    algorithm: {hidden_sizes: [16, 16], batch_size: 16}
monitor:
  ros__parameters: {evaluation_episodes: 1}
"""


def _copy(folder: Path) -> Path:
    """Copy what the repository has of the package into a folder and return it."""
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    return folder


def _run(words: list, cwd: Path, **environment: str) -> str:
    """Run a command that must succeed, without the path of the tests; return its output."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        list(map(str, words)),
        cwd=cwd,
        env=inherited | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def _built(source: Path, *commands: str) -> Path:
    """Run commands of setup.py and return the folder of what they built."""
    _run([sys.executable, "setup.py", "--quiet", *commands], source)
    return source / "dist"


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A checkout, in a folder called sql_ros, beside a file that no module may import."""
    folder = tmp_path_factory.mktemp("source")
    if sys.version_info >= (3, 11):  # which has -P
        (folder / "queue.py").write_text("raise RuntimeError('imported from the working folder')")
    return _copy(folder / "sql_ros")


@pytest.fixture(scope="module")
def wheel(source) -> Path:
    (wheel,) = _built(source, "bdist_wheel").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def commands(wheel, tmp_path_factory) -> Path:
    """The executables of an environment that has the wheel, and the dependencies of this one."""
    environment = tmp_path_factory.mktemp("environment")
    _run([sys.executable, "-m", "venv", "--without-pip", environment], environment)
    python = environment / "bin/python"
    here, paths = (
        Path(sysconfig.get_path("purelib")),
        {"base": environment, "platbase": environment},
    )
    there = Path(sysconfig.get_path("purelib", vars=paths))
    starters = [path.read_text() for path in here.glob("ros_wheels*.pth")]  # prepare rclpy
    (there / "dependencies.pth").write_text("\n".join([str(here), *starters]))
    install = ["install", "--quiet", "--no-deps", "--no-index", wheel]
    _run([sys.executable, "-m", "pip", "--python", python, *install], environment)
    return environment / "bin"


def test_the_sdist_builds_the_same_wheel(source, wheel, tmp_path):
    (sdist,) = _built(source, "sdist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    (again,) = _built(unpacked, "bdist_wheel").glob("*.whl")
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())


def test_an_editable_install_puts_the_checkout_on_the_path(source, tmp_path):
    """An import hook would come after the path, where a folder sql_ros hides the package."""
    build = "import sys; from setuptools import build_meta; build_meta.build_editable(sys.argv[1])"
    _run([sys.executable, "-c", build, tmp_path], source)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if "__editable__" in name)
        assert Path(archive.read(name).decode().strip()).samefile(source)


def test_the_folder_above_a_checkout_hides_no_module(commands, source):
    code = "import sql_ros.sim.simulation as module; print(module.__file__)"
    options = ["-P"] if sys.version_info >= (3, 11) else []
    said = _run([commands / "python", *options, "-c", code], source.parent)
    assert Path(said.strip()).is_relative_to(commands.parent)


def test_a_shipped_policy_is_evaluated_from_the_wheel(commands, source):
    words = ["eval", "--policy", "sawyer_stack", "--episodes", "1"]
    assert "success" in _run([commands / "sql-ros", *words], source.parent)


@pytest.mark.stack
@pytest.mark.long
def test_the_wheel_alone_passes_the_doctor_and_runs_a_stack(commands, source, tmp_path):
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    domain = str(228 + int(worker) % 2)  # 230 and 231 are those of the walkthroughs
    parameters = tmp_path / "quick.yaml"
    parameters.write_text(QUICK)
    _run([commands / "sql-ros", "doctor"], source.parent, ROS_DOMAIN_ID=domain)
    run = [f"run_dir:={tmp_path / 'run'}", f"params_file:={parameters}", "most_transitions:=150"]
    said = _run(
        [commands / "sql-ros", "up", "sawyer_stack", *run], source.parent, ROS_DOMAIN_ID=domain
    )
    assert "The run ended after 150 transitions, the limit of most_transitions." in said
    assert (tmp_path / "run/report.md").is_file()
