"""Declare ROS parameters from the fields of config dataclasses (`common.config.option`).

A field has a type, a description and a range. A field with `live=True` can be changed while its
node runs, see `LiveParameters`; all others are read when the node starts.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from sql_ros.common.config import Config, config_from_mapping, options_of
from sql_ros.common.errors import ConfigError
from sql_ros.stack.params_file import OF_RCLPY

FIXED = ("use_sim_time",)  # parameters of rclpy that cannot be changed while a node runs


class LiveParameters:
    """Mixin for an rclpy node: applies changes of live parameters and refuses those of others.

    List it before the node class among the base classes.

    Attributes:
        config: Config of the parameters without a prefix. A change replaces it by one assignment.
    """

    config: Any

    def accept_changes(self: Any) -> None:
        """Let `ros2 param set` change the live parameters of `config` from now on."""
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self.add_post_set_parameters_callback(self._on_parameters_set)

    def check_change(self, config: Any) -> None:
        """Check whether a config can be applied now. To be overridden; accepts all by default.

        Args:
            config: Config with the new values, which are within their ranges.

        Raises:
            ConfigError: The config cannot be applied.
        """

    def take_change(self, config: Any) -> None:
        """Apply a config that passed `check_change`. To be overridden; sets `config` by default."""
        self.config = config

    def set_parameters_atomically(
        self: Any, parameter_list: list[Parameter]
    ) -> SetParametersResult:
        """Set parameters as rclpy does, but refuse all if one of them is not live.

        Args:
            parameter_list: Parameters with their new values.

        Returns:
            Success, or the reason of the refusal with the names of the live parameters.
        """
        for parameter in parameter_list:
            name = parameter.name
            if name in FIXED or (
                self.has_parameter(name) and self.describe_parameter(name).read_only
            ):
                return SetParametersResult(successful=False, reason=self._reason(name))
        return super().set_parameters_atomically(parameter_list)  # type: ignore[misc]

    def _reason(self, name: str) -> str:
        """Return why a parameter cannot be changed, and which parameters can."""
        live = ", ".join(_live_names(self.config)) or "none"
        return (
            f"'{name}' is read when the node starts: start it with another value; can be changed"
            f" now: {live}"
        )

    def _config_with(self, parameters: list[Parameter]) -> Any:
        """Return `config` with the new values of its live parameters; other parameters are
        ignored.
        """
        live = _live_names(self.config)
        return dataclasses.replace(
            self.config, **{p.name: p.value for p in parameters if p.name in live}
        )

    def _on_set_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Check changed parameters before rclpy sets them.

        Args:
            parameters: Parameters with their new values.

        Returns:
            Success, or the reason of `check_change` for a refusal.
        """
        try:
            self.check_change(self._config_with(parameters))
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _on_parameters_set(self, parameters: list[Parameter]) -> None:
        """Apply changed parameters after rclpy has set them."""
        self.take_change(self._config_with(parameters))


def declare_configs(node: Node, configs: dict[str, type[Config]]) -> list[Any]:
    """Declare the fields of config classes as ROS parameters, and read their values.

    Parameters are read-only unless they are live. The node must have been created with
    `automatically_declare_parameters_from_overrides=True`: every value given by the user is then
    seen, even one that no config declares, which rclpy would ignore silently.

    Args:
        node: The node.
        configs: Prefix of the parameters to config class. The prefix "" stands for no prefix;
            "algorithm" gives `algorithm.temperature` and so on.

    Returns:
        One validated config per entry, in order.

    Raises:
        ConfigError: A parameter is unknown, of the wrong type or out of range.
    """
    given = {
        name: p.value
        for name, p in node.get_parameters_by_prefix("").items()
        if name.split(".")[0] not in OF_RCLPY
    }
    source = f"parameters of node {node.get_name()}"
    names = [
        _join(prefix, field.name) for prefix, cls in configs.items() for field in options_of(cls)
    ]
    for name in given:
        if name not in names:
            raise ConfigError(
                f"{source}: unknown parameter '{name}', expected one of: {', '.join(sorted(names))}"
            )
    results = []
    for prefix, cls in configs.items():
        fields = {field.name: _join(prefix, field.name) for field in options_of(cls)}
        config = config_from_mapping(
            cls, {key: given[name] for key, name in fields.items() if name in given}, source
        )
        for field in options_of(cls):
            name = fields[field.name]
            if node.has_parameter(name):
                node.undeclare_parameter(name)
            node.declare_parameter(
                name, config.as_dict()[field.name], _descriptor(field), ignore_override=True
            )
        results.append(config)
    return results


def _live_names(config: Config) -> list[str]:
    """Return the names of the live fields of a config."""
    return [field.name for field in options_of(config) if field.metadata["live"]]


def _join(prefix: str, name: str) -> str:
    """Return the full name of a parameter, given its prefix (may be empty) and its name."""
    return f"{prefix}.{name}" if prefix else name


def _descriptor(field: dataclasses.Field[Any]) -> ParameterDescriptor:
    """Return the ROS descriptor of a field: description, choices and bounds.

    If a field has only one bound, the other is the smallest or largest number of its type.

    Args:
        field: Field of a config class.
    """
    rules = field.metadata
    choices = rules["choices"]
    descriptor = ParameterDescriptor(
        description=rules["description"],
        additional_constraints=f"one of: {', '.join(choices)}" if choices else "",
        read_only=not rules["live"],
    )
    low = rules["minimum"]
    high = rules["maximum"]
    if field.type == "int" and (low is not None or high is not None):
        limits = (-(2**63) if low is None else int(low), 2**63 - 1 if high is None else int(high))
        descriptor.integer_range = [IntegerRange(from_value=limits[0], to_value=limits[1], step=0)]
    elif field.type == "float" and (low is not None or high is not None):
        bounds = (-1e308 if low is None else float(low), 1e308 if high is None else float(high))
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=bounds[0], to_value=bounds[1], step=0.0)
        ]
    return descriptor
