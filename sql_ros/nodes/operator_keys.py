"""Read the operator's keys in `sql-ros trials`, and call the services of the node `trials`."""

from __future__ import annotations

import sys

import rclpy
from std_srvs.srv import Trigger

KEYS = {"c": "confirm", "s": "skip", "r": "repeat", "a": "abort"}


def pass_on_keys() -> None:
    """Call the service of `KEYS` for each line on stdin, and print its answer; return at the end
    of stdin.

    The first letter of a line counts. For another letter, and for a service that is not there or
    does not answer within 5 s, a line is printed. The function blocks, and creates a ROS context
    and a node of its own.
    """
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("operator", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    for text in sys.stdin:
        name = KEYS.get(text.strip()[:1].lower())
        if name is None:
            print(
                f"'{text.strip()}': type one of"
                f" {', '.join(f'{key} ({word})' for key, word in KEYS.items())}",
                flush=True,
            )
            continue
        client = node.create_client(Trigger, f"trials/{name}")
        if not client.wait_for_service(timeout_sec=5.0):
            print("the trials do not answer: check that they still run", flush=True)
            continue
        future = client.call_async(Trigger.Request())
        executor.spin_until_future_complete(future, timeout_sec=5.0)
        answer = future.result()
        print(answer.message if answer else "no answer within 5 s", flush=True)
