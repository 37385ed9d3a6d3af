"""No command leaves in a refused start, counted on the topic of a real arm whose states come."""

import sys

import pytest
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from sql_ros.nodes.qos import RELIABLE

pytestmark = pytest.mark.stack
CASE_LARGE = "learner: {ros__parameters: {trainer: {replay_capacity: 3000000000}}}"


@pytest.fixture
def arm(probe, task):
    """Publish the states of a resting arm, and collect what it is sent."""
    states = probe.node.create_publisher(JointState, "joint_states", RELIABLE)
    sent = probe.listen(Float64MultiArray, "forward_velocity_controller/commands", RELIABLE)
    joints, pose = task.robot.joints, task.robot.neutral_position

    def publish() -> None:
        message = JointState(
            name=joints, position=pose, velocity=[0.0] * len(joints), effort=[0.0] * len(joints)
        )
        message.header.stamp = probe.node.get_clock().now().to_msg()
        states.publish(message)

    timer = probe.node.create_timer(0.02, publish)
    yield sent
    probe.node.destroy_timer(timer)


@pytest.mark.short("mistyped folder")
@pytest.mark.parametrize(
    "case", ["mistyped folder", "earlier run", "memory", "policy of another task"]
)
def test_a_refused_start_sends_no_command(case, arm, processes, probe, tmp_path):
    earlier, large = tmp_path / "earlier", tmp_path / "large.yaml"
    earlier.mkdir()
    (earlier / "report.md").write_text("# earlier\n")
    large.write_text(CASE_LARGE)
    words = {
        "mistyped folder": ["--resume", str(tmp_path / "erlier")],
        "earlier run": [f"run_dir:={earlier}"],
        "memory": [f"params_file:={large}", f"run_dir:={tmp_path / 'new'}"],
        "policy of another task": [
            "mode:=play",
            "policy:=sawyer_stack",
            "task:=sawyer_reach",
            f"run_dir:={tmp_path / 'new'}",
        ],
    }[case]
    start = processes.start([sys.executable, "-m", "sql_ros.cli.main", "up", "sim:=false", *words])
    probe.wait(lambda: start.poll() is not None, timeout=240)
    assert start.returncode == 2, start.log.read_text()
    assert len(start.log.read_text().splitlines()) == 1
    assert arm == []
    assert [path.name for path in earlier.iterdir()] == ["report.md"]
    assert not (tmp_path / "new").exists()
