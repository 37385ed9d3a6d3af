"""List and check the parameters that each node declares, for `sql-ros params` and params files.

`python -m sql_ros.nodes.declared` prints the names of all parameters as JSON, node to list, for a
process that must not import rclpy. With `--check` it reads parameters as JSON from stdin, node to
name to value, and checks them as the nodes do.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from sql_ros.common.config import Config, config_from_mapping, options_of
from sql_ros.common.errors import CONFIG_EXIT_CODE, ConfigError
from sql_ros.stack.params_file import OF_RCLPY

CONFIGS = {
    "learner": {
        "": "sql_ros.nodes.learner_config.LearnerConfig",
        "trainer.": "sql_ros.learning.algorithm.TrainerConfig",
        "algorithm.": "sql_ros.learning.algorithm.AlgorithmConfig",
    },
    "actor": {"": "sql_ros.nodes.actor_config.ActorConfig"},
    "sim_bridge": {"": "sql_ros.nodes.sim_bridge_node.SimBridgeConfig"},
    "monitor": {"": "sql_ros.nodes.monitor_config.MonitorConfig"},
    "trials": {"": "sql_ros.nodes.trials_node.TrialsConfig"},
    "page": {"": "sql_ros.nodes.page_config.PageConfig"},
}


def declared_by(node: str) -> dict[str, dataclasses.Field[object]]:
    """Return the parameters of a node, full parameter name to the field of its config class.

    Args:
        node: Node name, a key of `CONFIGS`.
    """
    fields = {}
    for prefix, config in _configs(node).items():
        fields.update({prefix + field.name: field for field in options_of(config)})
    return fields


def check_parameters(node: str, values: Mapping[str, Any]) -> None:
    """Check the parameters of a node as the node itself does when it starts.

    Parameters of rclpy (`OF_RCLPY`) are not checked.

    Args:
        node: Node name, a key of `CONFIGS`.
        values: Full parameter name to value.

    Raises:
        ConfigError: A parameter is unknown, of the wrong type or out of range.
    """
    source = f"parameters of {node}"
    own = {name: value for name, value in values.items() if name.split(".")[0] not in OF_RCLPY}
    known = declared_by(node)
    for name in own:
        if name not in known:
            close = get_close_matches(name, known, 3)
            advice = f"did you mean {', '.join(close)}?" if close else "sql-ros params lists them"
            raise ConfigError(f"{source}: unknown parameter '{name}': {advice}")
    for prefix, config in _configs(node).items():
        names = {field.name: prefix + field.name for field in options_of(config)}
        given = {field: own[name] for field, name in names.items() if name in own}
        config_from_mapping(config, given, source)


def _configs(node: str) -> dict[str, type[Config]]:
    """Return the config classes of a node, prefix of the parameters to class; import them."""
    classes = {}
    for prefix, path in CONFIGS[node].items():
        module, _, name = path.rpartition(".")
        classes[prefix] = getattr(import_module(module), name)
    return classes


def main() -> int:
    """Print the names of all parameters; with the argument `--check`, check those on stdin.

    Returns:
        The exit code: `CONFIG_EXIT_CODE` if a parameter is refused, else 0.
    """
    return _check() if sys.argv[1:] == ["--check"] else _print_names()


def _check() -> int:
    """Check the parameters on stdin, JSON of node name to parameter name to value; print the first
    error on stderr.

    Returns:
        The exit code: 0; `CONFIG_EXIT_CODE` after an error.
    """
    try:
        for node, values in json.load(sys.stdin).items():
            check_parameters(node, values)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return CONFIG_EXIT_CODE
    return 0


def _print_names() -> int:
    """Print JSON of node name to the list of its parameter names; return the exit code 0.

    A node whose modules cannot be imported is omitted, and the reason is printed on stderr.
    """
    names = {}
    for node in CONFIGS:
        try:
            names[node] = list(declared_by(node))
        except ImportError as error:
            print(f"{node}: {error}", file=sys.stderr)
    print(json.dumps(names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
