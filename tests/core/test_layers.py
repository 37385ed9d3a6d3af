"""An import points only downwards, and what runs on a robot's PC never imports torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "sql_ros"
LAYERS = {
    "core": 0,
    "robot": 1,
    "sim": 2,
    "envs": 3,
    "runs": 3,
    "bench": 3,
    "verify": 4,
    "experiments": 4,
    "stack": 4,
    "nodes": 4,
    "checks": 5,
    "cli": 6,
}
TOP = {"share": 0}  # a module beside the rooms, which sees core.errors alone
ROS = {"rclpy", "std_msgs", "sensor_msgs", "std_srvs", "diagnostic_msgs", "rcl_interfaces", "builtin_interfaces", "rosgraph_msgs"}
ROS |= {"lifecycle_msgs", "trajectory_msgs", "intera_core_msgs"}
ROBOT_PC = [
    "nodes/actor_node.py",
    "nodes/trials_node.py",
    "nodes/sim_bridge_node.py",
    "robot/safety.py",
    "core/policy.py",
    "stack/preflight.py",
    "runs/evaluation.py",
]


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _level(parts: tuple[str, ...]) -> int:
    return LAYERS.get(parts[0], TOP.get(parts[0].removesuffix(".py"), -1))


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path):
    own = _level(path.relative_to(ROOT).parts)
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] == "sql_ros" and len(parts) > 1 and own >= 0:
            assert _level((parts[1],)) <= own, f"{path.name} imports {name}, a layer above it"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_nodes_and_the_command_line_know_ros_and_the_core_knows_no_mujoco(path):
    room = path.relative_to(ROOT).parts[0]
    used = {name.split(".")[0] for name in _imports(path)}
    if room not in ("nodes", "checks", "cli"):
        assert not used & ROS
    if room == "core":
        assert "mujoco" not in used


@pytest.mark.parametrize("module", ROBOT_PC)
def test_what_runs_on_the_robots_pc_never_imports_torch(module):
    """Asked of a fresh interpreter, with everything that the module pulls in."""
    name = "sql_ros." + module.removesuffix(".py").replace("/", ".")
    code = f"import sys, {name}; bad = {{'torch', 'gymnasium', 'safetensors'}} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_robot_pc_installation_asks_for_no_torch():
    text = (ROOT.parent / "setup.py").read_text()
    values = {t.id: ast.literal_eval(n.value) for n in ast.parse(text).body if isinstance(n, ast.Assign) for t in n.targets}
    assert not [item for item in values["ROBOT"] + values["ROS"] if item.split("=")[0].split(">")[0] in ("torch", "safetensors")]
    assert any(item.startswith("torch") for item in values["LEARNER"])
