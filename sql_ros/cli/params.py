"""`sql-ros params`: list the ROS parameters of the nodes."""

from __future__ import annotations

import argparse
import dataclasses

from sql_ros.common.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("node", nargs="?", help="learner, actor, sim_bridge, monitor or trials")


def run(args: argparse.Namespace) -> int:
    """Print the parameters of the given node, or of all nodes; return exit code 0.

    Raises:
        ConfigError: There is no node of that name.
    """
    return list_parameters(args.node)


def list_parameters(node: str | None) -> int:
    """Print a line per parameter: name, type, default, limits and description.

    Args:
        node: Node name; None: all nodes.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: There is no node of that name.
    """
    from sql_ros.nodes.declared import CONFIGS, declared_by

    if node is not None and node not in CONFIGS:
        raise ConfigError(f"unknown node '{node}', expected one of: {', '.join(CONFIGS)}")
    for name in [node] if node else CONFIGS:
        print(f"{name}:")
        for parameter, field in declared_by(name).items():
            print(f"  {parameter:36s} {_describe(field)}")
    return 0


def _describe(field: dataclasses.Field[object]) -> str:
    """Return text with type, default, limits and description of a parameter, and whether it can be
    changed while the node runs.

    Args:
        field: Field of the config class.
    """
    rules = field.metadata
    bounds = [f">= {rules['minimum']}"] if rules["minimum"] is not None else []
    bounds += [f"<= {rules['maximum']}"] if rules["maximum"] is not None else []
    bounds += [" | ".join(rules["choices"])] if rules["choices"] else []
    limits = f" ({', '.join(bounds)})" if bounds else ""
    live = ", ros2 param set" if rules["live"] else ""
    return f"{field.type}{live} = {field.default!r}{limits}: {rules['description']}"
