"""An arm is imported from what its driver publishes, over DDS."""

import pytest
from std_msgs.msg import String

from sql_ros.arms.description_source import DESCRIPTION
from sql_ros.checks.description_topic import receive_description
from sql_ros.cli.main import main
from sql_ros.common.errors import ConfigError
from sql_ros.nodes.qos import LATCHED
from sql_ros.robot.tasks import load_task
from tests.arms.test_arm_files import CYLINDER, INERTIA, URDF

pytestmark = pytest.mark.stack


@pytest.fixture(autouse=True)
def _in_the_domain(domain, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))


def test_the_description_of_a_driver_becomes_a_task(probe, tmp_path):
    """The driver has published it before."""
    publisher = probe.node.create_publisher(String, "/left/robot_description", LATCHED)
    publisher.publish(String(data=URDF.format(inertia=INERTIA, base=CYLINDER)))
    out = tmp_path / "toy"
    assert main(["import-robot", "/left/robot_description", "--out", str(out)]) == 0
    assert load_task(str(out / "toy_reach.yaml")).robot.joints == ("j1", "j2", "j3")
    assert (out / DESCRIPTION).is_file()


def test_a_silent_topic_is_one_line(probe):
    with pytest.raises(ConfigError, match=r"nothing came on /robot_description within 0\.5 s"):
        receive_description("/robot_description", wait_s=0.5)
