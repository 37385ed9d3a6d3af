"""`sql-ros params`: the ROS parameters as declared in the config dataclasses."""

from __future__ import annotations

import dataclasses

from sql_ros.core.errors import ConfigError


def list_parameters(node: str | None) -> int:
    """Print the parameters of one node, or of all."""
    from sql_ros.nodes.declared import CONFIGS, declared_by

    if node is not None and node not in CONFIGS:
        raise ConfigError(f"unknown node '{node}', expected one of: {', '.join(CONFIGS)}")
    for name in [node] if node else CONFIGS:
        print(f"{name}:")
        for parameter, field in declared_by(name).items():
            print(f"  {parameter:36s} {_describe(field)}")
    return 0


def _describe(field: dataclasses.Field[object]) -> str:
    rules = field.metadata
    bounds = [f">= {rules['minimum']}"] if rules["minimum"] is not None else []
    bounds += [f"<= {rules['maximum']}"] if rules["maximum"] is not None else []
    bounds += [" | ".join(rules["choices"])] if rules["choices"] else []
    limits = f" ({', '.join(bounds)})" if bounds else ""
    live = ", ros2 param set" if rules["live"] else ""
    return f"{field.type}{live} = {field.default!r}{limits}: {rules['description']}"
