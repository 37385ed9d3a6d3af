"""`sql-ros doctor` where something is missing: it works without a home or shared memory, and names
the real reason.
"""

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("own_domain")]
DOCTOR = [sys.executable, "-m", "sql_ros.cli.main", "doctor"]
WITHOUT_TORCH = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "safetensors", "matplotlib", "rich", "gymnasium"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Hidden())
from sql_ros.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def _run(words, **changed) -> tuple[int, str]:
    """Run a command; a value of None removes a variable of the environment."""
    environment = {**os.environ, "ROS_DOMAIN_ID": "61", "ROS_LOG_DIR": None, **changed}
    environment = {name: value for name, value in environment.items() if value is not None}
    result = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    return result.returncode, result.stdout + result.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("home", "reason"),
    [(None, "HOME is not set"), ("/proc", "/proc/.ros/log cannot be created")],
    ids=["no home", "read-only home"],
)
def test_doctor_works_without_a_home_and_says_where_logs_go(home, reason):
    code, text = _run(DOCTOR, HOME=home)
    assert code == 0, text
    assert f"[note] log folder: {reason}" in text
    assert "[ok  ] DDS discovery" in text


@pytest.mark.long
def test_doctor_works_with_read_only_shared_memory():
    script = 'mount -t tmpfs -o ro none /dev/shm && exec "$@"'
    if _run(["unshare", "-m", "sh", "-c", script, "sh", "true"])[0]:
        pytest.skip("mounting is not permitted here")
    code, text = _run(["unshare", "-m", "sh", "-c", script, "sh", *DOCTOR])
    assert code == 0, text
    assert "[note] shared memory: /dev/shm cannot be written to" in text
    assert "[ok  ] DDS discovery" in text
    assert "RTPS" not in text


def test_doctor_names_the_reason_why_no_node_can_run():
    code, text = _run(DOCTOR, ROS_LOG_DIR="/proc/nowhere")
    assert code == 1
    assert "[FAIL] DDS discovery: a process could not run: " in text
    assert "Failed to create log directory '/proc/nowhere'" in text
    assert "firewall" not in text


@pytest.mark.long
def test_doctor_judges_a_robot_pc_without_torch():
    words = [sys.executable, "-c", WITHOUT_TORCH, "doctor"]
    code, text = _run([*words, "--robot"])
    assert code == 0, text
    assert "torch" not in text
    assert "[note] matplotlib: cannot be imported" in text
    assert "[ok  ] a policy: sawyer_stack acts" in text
    assert "] joint states: " in text
    assert "Ready: sql-ros up sawyer_stack sim:=false dry_run:=true" in text
    code, text = _run(words)
    assert code == 1
    assert "[FAIL] torch: cannot be imported" in text
