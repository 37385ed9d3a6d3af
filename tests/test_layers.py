"""An import points only downwards, and what runs on a robot's PC never imports torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "sql_ros"
LEVELS = {
    "common": 0,
    "policy": 1,
    "learning": 2,
    "robot": 2,
    "trials": 3,
    "sim": 4,
    "arms": 5,
    "envs": 6,
    "runs": 6,
    "stack": 6,
    "page": 6,
    "nodes": 7,
    "checks": 8,
    "experiments": 9,
    "cli": 10,
}
ROBOT_LEVELS = {"": 0, "tasks": 1, "safety": 1, "control": 2, "driver": 2}
ROS = {
    "rclpy",
    "std_msgs",
    "sensor_msgs",
    "std_srvs",
    "diagnostic_msgs",
    "rcl_interfaces",
    "builtin_interfaces",
    "rosgraph_msgs",
}
ROS |= {"lifecycle_msgs", "trajectory_msgs", "intera_core_msgs"}
ROBOT_PC = [
    "nodes/actor_node.py",
    "nodes/trials_node.py",
    "nodes/sim_bridge_node.py",
    "robot/safety/filter.py",
    "policy/runtime.py",
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


def _room(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else ""


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_to_rooms_below(path):
    """Rooms of one level do not know each other, so there is no circle of rooms."""
    own = _room(path)
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] != "sql_ros" or len(parts) < 2 or own == "" or parts[1] == own:
            continue
        if parts[1] != "__version__":
            assert LEVELS[parts[1]] < LEVELS[own], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "robot").rglob("*.py")), ids=lambda p: p.name)
def test_imports_inside_robot_point_downwards(path):
    parts = path.relative_to(ROOT / "robot").parts
    own = parts[0] if len(parts) > 1 else ""
    for name in _imports(path):
        parts = name.split(".")
        if parts[:2] != ["sql_ros", "robot"] or len(parts) < 3:
            continue
        other = parts[2] if parts[2] in ROBOT_LEVELS else ""
        if other != own and path.name != "policy_file.py":
            assert ROBOT_LEVELS[other] < ROBOT_LEVELS[own], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_nodes_and_checks_know_ros_and_learning_knows_no_mujoco(path):
    room = _room(path)
    used = {name.split(".")[0] for name in _imports(path)}
    if room not in ("nodes", "checks"):
        assert not used & ROS
    if room in ("common", "policy", "learning"):
        assert "mujoco" not in used


def test_what_runs_on_the_robots_pc_never_imports_torch():
    """Asked of one fresh interpreter, which imports one module after another."""
    names = ["sql_ros." + module.removesuffix(".py").replace("/", ".") for module in ROBOT_PC]
    code = f"""
import sys
from importlib import import_module
for name in {names}:
    import_module(name)
    if bad := {{'torch', 'gymnasium', 'safetensors'}} & set(sys.modules):
        sys.exit(f"{{name}} imports {{bad}}")
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_robot_pc_installation_asks_for_no_torch():
    text = (ROOT.parent / "setup.py").read_text()
    values = {
        t.id: ast.literal_eval(n.value)
        for n in ast.parse(text).body
        if isinstance(n, ast.Assign)
        for t in n.targets
    }
    assert not [
        item
        for item in values["ROBOT"] + values["ROS"]
        if item.split("=")[0].split(">")[0] in ("torch", "safetensors")
    ]
    assert any(item.startswith("torch") for item in values["LEARNER"])
