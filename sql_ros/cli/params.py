"""`sql-ros params`: the ROS parameters as declared in the config dataclasses."""

from __future__ import annotations

import dataclasses

from sql_ros.core.config import Config
from sql_ros.core.errors import ConfigError


def list_parameters(node: str | None) -> int:
    """Prints the parameters of one node, or of all."""
    from sql_ros.core.algorithm import AlgorithmConfig, TrainerConfig
    from sql_ros.nodes.actor_node import ActorConfig
    from sql_ros.nodes.learner_node import LearnerConfig
    from sql_ros.nodes.monitor_node import MonitorConfig
    from sql_ros.nodes.sim_bridge_node import SimBridgeConfig
    from sql_ros.nodes.trials_node import TrialsConfig

    nodes: dict[str, dict[str, type[Config]]] = {
        "learner": {"": LearnerConfig, "trainer.": TrainerConfig, "algorithm.": AlgorithmConfig},
        "actor": {"": ActorConfig},
        "sim_bridge": {"": SimBridgeConfig},
        "monitor": {"": MonitorConfig},
        "trials": {"": TrialsConfig},
    }
    if node is not None and node not in nodes:
        raise ConfigError(f"unknown node '{node}', expected one of: {', '.join(nodes)}")
    for name in [node] if node else nodes:
        print(f"{name}:")
        for prefix, cls in nodes[name].items():
            for field in dataclasses.fields(cls):
                print(f"  {prefix + field.name:36s} {_describe(field)}")
    return 0


def _describe(field: dataclasses.Field[object]) -> str:
    rules = field.metadata
    bounds = [f">= {rules['minimum']}"] if rules["minimum"] is not None else []
    bounds += [f"<= {rules['maximum']}"] if rules["maximum"] is not None else []
    bounds += [" | ".join(rules["choices"])] if rules["choices"] else []
    limits = f" ({', '.join(bounds)})" if bounds else ""
    live = ", ros2 param set" if rules["live"] else ""
    return f"{field.type}{live} = {field.default!r}{limits}: {rules['description']}"
