"""ROS parameters declared from config dataclasses: type, description and range stand once, in `core.config.option`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from sql_ros.core.config import Config, config_from_mapping
from sql_ros.core.errors import ConfigError, PolicyError
from sql_ros.core.policy import Policy
from sql_ros.core.spec import TaskSpec

RCLPY_OWN = ("use_sim_time", "start_type_description_service", "qos_overrides")


def declare_configs(node: Node, configs: dict[str, type[Config]]) -> list[Any]:
    """Declares the fields of configs as read-only parameters and reads them.

    The node must have been made with `automatically_declare_parameters_from_overrides=True`: that shows every override, also those that
    nobody declares, which rclpy would otherwise ignore in silence.

    Args:
        node: of which the parameters are.
        configs: prefix to config class; "" for none, "algorithm" for `algorithm.temperature` and so on.

    Returns:
        One validated config per entry, in order.

    Raises:
        ConfigError: unknown parameter, wrong type, out of range.
    """
    given = {name: p.value for name, p in node.get_parameters_by_prefix("").items() if name.split(".")[0] not in RCLPY_OWN}
    where = f"parameters of node {node.get_name()}"
    names = [_join(prefix, field.name) for prefix, cls in configs.items() for field in dataclasses.fields(cls)]
    for name in given:
        if name not in names:
            raise ConfigError(f"{where}: unknown parameter '{name}', expected one of: {', '.join(sorted(names))}")
    results = []
    for prefix, cls in configs.items():
        fields = {field.name: _join(prefix, field.name) for field in dataclasses.fields(cls)}
        config = config_from_mapping(cls, {key: given[name] for key, name in fields.items() if name in given}, where)
        for field in dataclasses.fields(cls):
            name = fields[field.name]
            if node.has_parameter(name):
                node.undeclare_parameter(name)
            node.declare_parameter(name, config.as_dict()[field.name], _descriptor(field), ignore_override=True)
        results.append(config)
    return results


def read_policy(path: str, spec: TaskSpec) -> Policy:
    """The policy file that the parameter `policy` names.

    Raises:
        ConfigError: it cannot be read, or must not be used with this task.
    """
    try:
        return Policy(Path(path).read_bytes(), spec)
    except (OSError, PolicyError) as error:
        raise ConfigError(f"parameter 'policy': cannot use {path}: {error}") from None


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _descriptor(field: dataclasses.Field[Any]) -> ParameterDescriptor:
    """Description and bounds; where only one bound is known rclpy gets the largest number for the other."""
    rules = field.metadata
    choices = rules["choices"]
    descriptor = ParameterDescriptor(
        description=rules["description"],
        additional_constraints=f"one of: {', '.join(choices)}" if choices else "",
        read_only=True,
    )
    low, high = rules["minimum"], rules["maximum"]
    if field.type == "int" and (low is not None or high is not None):
        limits = (-(2**63) if low is None else int(low), 2**63 - 1 if high is None else int(high))
        descriptor.integer_range = [IntegerRange(from_value=limits[0], to_value=limits[1], step=0)]
    elif field.type == "float" and (low is not None or high is not None):
        bounds = (-1e308 if low is None else float(low), 1e308 if high is None else float(high))
        descriptor.floating_point_range = [FloatingPointRange(from_value=bounds[0], to_value=bounds[1], step=0.0)]
    return descriptor
