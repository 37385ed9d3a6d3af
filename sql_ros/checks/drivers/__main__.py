"""`python -m sql_ros.checks.drivers ARM`: run the simulated driver of an arm in a terminal, until
Ctrl-C.

Beside it, a walkthrough for real arms can be followed without a robot and without its maker's
simulator.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from sql_ros.checks.drivers.arms import ARMS
from sql_ros.checks.drivers.cases import PLAY
from sql_ros.checks.drivers.double import DriverDouble
from sql_ros.checks.drivers.row import make_double
from sql_ros.checks.drivers.table import DriverRow
from sql_ros.robot.tasks import load_task
from sql_ros.stack.arguments import check_domain

REPORT_S = 1.0


def main() -> int:
    """Run the driver of an arm until SIGINT or SIGTERM; print a line about it once a second.

    The arm is named on the command line. The driver runs in the DDS domain of the environment.
    Discovery is limited to this host if the environment does not say otherwise.

    Returns:
        Exit code 0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m sql_ros.checks.drivers",
        description="Play the driver of an arm: joint states, one controller. Ctrl-C ends it.",
    )
    names = [name for name, arm in ARMS.items() if not arm.needs]
    parser.add_argument("arm", choices=names, help="which driver to play")
    arm = ARMS[parser.parse_args().arm]
    check_domain()
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    task = load_task(arm.task)
    row = DriverRow(arm, PLAY, "nominal")
    domain = int(os.environ.get("ROS_DOMAIN_ID") or 0)
    double = make_double(row, task.robot, task.config, domain)
    double.load_controller()
    print(f"{arm.controller} listens to {arm.topic}, states on {arm.state_topic}", flush=True)
    ended = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, _: ended.append(signum))
    while not double.run_until(lambda: bool(ended), REPORT_S):
        print(_line(double), flush=True)
    double.close()
    return 0


def _line(double: DriverDouble) -> str:
    """Return joint angles [rad], number of received commands and the actor's status as a line of
    text.
    """
    angles = " ".join(f"{angle:6.3f}" for angle in double.plant.position)
    commands = double.recorder.record.commands
    return f"joints [{angles}] rad, {commands} commands, actor: {double.status or 'not heard'}"


if __name__ == "__main__":
    sys.exit(main())
