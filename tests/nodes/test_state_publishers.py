"""Two publishers of states are named, also where the graph learns their names late."""

import pytest
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.topic_endpoint_info import TopicEndpointInfo, TopicEndpointTypeEnum
from rclpy.type_hash import TypeHash

from sql_ros.nodes.endpoint_names import UNDISCOVERED, UNKNOWN
from sql_ros.nodes.state_publishers import QUERY_S, StatePublishers


class LateGraph(Node):
    """Knows two endpoints of a topic; the node of one is discovered later."""

    late = (UNKNOWN, "_NODE_NAMESPACE_UNKNOWN_")

    def get_publishers_info_by_topic(self, topic_name, no_mangle=False):
        names = [("driver", "/"), self.late]
        common = {
            "topic_type": "sensor_msgs/msg/JointState",
            "topic_type_hash": TypeHash(version=1, value=bytes(32)),
        }
        common |= {
            "endpoint_type": TopicEndpointTypeEnum.PUBLISHER,
            "endpoint_gid": [0] * 16,
            "qos_profile": QoSProfile(depth=1),
        }
        return [
            TopicEndpointInfo(node_name=name, node_namespace=space, **common)
            for name, space in names
        ]


@pytest.fixture
def graph():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=1)
    node = LateGraph("watcher", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def test_a_publisher_is_named_as_soon_as_it_is_discovered(graph, capfd):
    publishers, now = StatePublishers(graph, "/joint_states", ["j0"]), 0.0

    def contest() -> str:
        """Hear two writers in turn; return the description."""
        nonlocal now
        now += 1.5 * QUERY_S
        for number, at in ((5, now), (2, now + 0.01)):
            publishers.heard(number, at)
        return publishers.reasons(now)["two_publishers"]

    assert f"which has /driver and {UNDISCOVERED}: end one" in contest()
    graph.late = ("rival", "/left")
    assert "which has /driver and /left/rival: end one" in contest()
    contest()
    said = capfd.readouterr().err
    assert said.count("two_publishers: two publishers send states of j0") == 1
    assert "UNKNOWN" not in said
