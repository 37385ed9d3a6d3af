"""Declares ROS parameters from config dataclasses, whose fields (`common.config.option`) have type,
description and range.

A parameter declared `live` can be changed while its node runs, see `LiveParameters`.
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

FIXED = ("use_sim_time",)  # parameters of rclpy


class LiveParameters:
    """Mixin before an rclpy node, which applies changes of live parameters and refuses others.

    Attributes:
        config: Config of the parameters without a prefix; a change replaces it by one assignment.
    """

    config: Any

    def accept_changes(self: Any) -> None:
        """Let `ros2 param set` change the live parameters of `config` from now on."""
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self.add_post_set_parameters_callback(self._on_parameters_set)

    def check_change(self, config: Any) -> None:
        """Check whether a config can be applied now; its values are within their ranges.

        Raises:
            ConfigError: It cannot.
        """

    def take_change(self, config: Any) -> None:
        """Apply a config."""
        self.config = config

    def set_parameters_atomically(
        self: Any, parameter_list: list[Parameter]
    ) -> SetParametersResult:
        """Set parameters as rclpy does; refuse those that are read at the start only, with
        that reason.
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
        """Return the config with the new values of its live parameters."""
        live = _live_names(self.config)
        return dataclasses.replace(
            self.config, **{p.name: p.value for p in parameters if p.name in live}
        )

    def _on_set_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Check changed parameters before rclpy sets them."""
        try:
            self.check_change(self._config_with(parameters))
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _on_parameters_set(self, parameters: list[Parameter]) -> None:
        """Apply changed parameters after rclpy has set them."""
        self.take_change(self._config_with(parameters))


def declare_configs(node: Node, configs: dict[str, type[Config]]) -> list[Any]:
    """Declare the fields of configs as parameters, read-only unless they are live, and read them.

    The node must have been created with `automatically_declare_parameters_from_overrides=True`.
    Then it shows every override, even those that no config declares. rclpy would ignore these
    silently.

    Args:
        node: The node.
        configs: Prefix to config class; "" for none, "algorithm" for `algorithm.temperature` and so
            on.

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
    where = f"parameters of node {node.get_name()}"
    names = [
        _join(prefix, field.name) for prefix, cls in configs.items() for field in options_of(cls)
    ]
    for name in given:
        if name not in names:
            raise ConfigError(
                f"{where}: unknown parameter '{name}', expected one of: {', '.join(sorted(names))}"
            )
    results = []
    for prefix, cls in configs.items():
        fields = {field.name: _join(prefix, field.name) for field in options_of(cls)}
        config = config_from_mapping(
            cls, {key: given[name] for key, name in fields.items() if name in given}, where
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
    """Return the names of the live fields."""
    return [field.name for field in options_of(config) if field.metadata["live"]]


def _join(prefix: str, name: str) -> str:
    """Return the full name of a parameter."""
    return f"{prefix}.{name}" if prefix else name


def _descriptor(field: dataclasses.Field[Any]) -> ParameterDescriptor:
    """Return the descriptor of a parameter: description, choices and bounds.

    Where only one bound is known, the other is the largest number of its type.
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
