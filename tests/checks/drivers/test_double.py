"""The double of a driver over DDS."""

import time

import pytest
import rclpy

from sql_ros.checks.drivers.row import make_double
from sql_ros.checks.drivers.table import choose
from sql_ros.checks.processes import own_domain
from sql_ros.robot.tasks import load_task

pytestmark = pytest.mark.stack
TOPIC = "/forward_velocity_controller/commands"


def test_a_double_that_is_closed_leaves_no_controller_behind():
    """The next row in this domain would meet a controller that takes commands and moves nothing."""
    (row,) = choose(["sawyer_velocity/train/trained"])
    task = load_task(row.arm.task)
    domain = int(own_domain()["ROS_DOMAIN_ID"])
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    observer = rclpy.create_node("observer", context=context)

    def controllers(number: int) -> int:
        """Return the number of controllers, once it is this one or after 5 s."""
        until = time.monotonic() + 5.0
        while time.monotonic() < until and observer.count_subscribers(TOPIC) != number:
            time.sleep(0.05)
        return observer.count_subscribers(TOPIC)

    double = make_double(row, task.robot, task.config, domain)
    double.load_controller()
    seen = controllers(1)
    double.close()  # `double` is still there: this is not the garbage collector
    left = controllers(0)
    observer.destroy_node()
    context.try_shutdown()
    assert (seen, left) == (1, 0)
