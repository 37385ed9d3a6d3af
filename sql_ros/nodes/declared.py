"""The parameters that each node declares: a table for people (`sql-ros params`), names for params files.

`python -m sql_ros.nodes.declared` prints the names as JSON, for a process that must not import torch or rclpy.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from importlib import import_module

from sql_ros.core.config import Config

CONFIGS = {
    "learner": {
        "": "sql_ros.nodes.learner_node.LearnerConfig",
        "trainer.": "sql_ros.core.algorithm.TrainerConfig",
        "algorithm.": "sql_ros.core.algorithm.AlgorithmConfig",
    },
    "actor": {"": "sql_ros.nodes.actor_node.ActorConfig"},
    "sim_bridge": {"": "sql_ros.nodes.sim_bridge_node.SimBridgeConfig"},
    "monitor": {"": "sql_ros.nodes.monitor_node.MonitorConfig"},
    "trials": {"": "sql_ros.nodes.trials_node.TrialsConfig"},
}


def declared_by(node: str) -> dict[str, dataclasses.Field[object]]:
    """Return the parameters of a node, by full name."""
    fields = {}
    for prefix, path in CONFIGS[node].items():
        module, _, name = path.rpartition(".")
        config: type[Config] = getattr(import_module(module), name)
        fields.update({prefix + field.name: field for field in dataclasses.fields(config)})
    return fields


def main() -> int:
    """Print the names of the parameters of each node; a node whose packages are not installed here is left out."""
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
