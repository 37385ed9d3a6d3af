"""`sql-ros page`: serve the operator's page for a stack that runs already."""

from __future__ import annotations

import argparse

from sql_ros.common.errors import ConfigError

ARGUMENTS = ("task", "namespace", "joint_prefix")  # launch arguments of the stack that is shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="name:=value",
        help=f"launch arguments of the stack: {', '.join(ARGUMENTS)}",
    )


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C.

    Returns:
        The exit code of the node.

    Raises:
        ConfigError: An argument is unknown or wrong, or a package is missing.
    """
    from sql_ros.robot.tasks import load_task
    from sql_ros.stack.arguments import DEFAULT_TASK, check_arguments
    from sql_ros.stack.preflight import check_page_packages
    from sql_ros.stack.settings import check_ros_names

    given: dict[str, str] = {}
    for word in args.arguments:
        name, separator, value = word.partition(":=")
        if not separator or name not in ARGUMENTS:
            raise ConfigError(
                f"'{word}', expected {', '.join(f'{each}:=...' for each in ARGUMENTS)}"
            )
        given[name] = value
    load_task(check_arguments(given)["task"] or DEFAULT_TASK)
    check_page_packages("sql-ros page")
    namespace = given.pop("namespace", "").strip("/")
    check_ros_names(namespace, {})
    words = ["page", "--ros-args"]
    for name, value in given.items():
        words += ["-p", "{}:='{}'".format(name, value.replace("'", "''"))]
    if namespace:
        words += ["-r", f"__ns:=/{namespace}"]

    from sql_ros.nodes.page_node import PageNode
    from sql_ros.nodes.process import run_node

    return run_node(PageNode, words)
