"""Frozen, validated dataclasses: the one declaration behind YAML files, ROS parameters and ``--help``."""

from __future__ import annotations

import dataclasses
import math
import reprlib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from sql_ros.core.errors import ConfigError

C = TypeVar("C", bound="Config")
LARGEST_YAML, DEEPEST_YAML = 200_000, 20  # characters, brackets in brackets


def option(
    default: Any = dataclasses.MISSING,
    description: str = "",
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """Declare one field of a `Config`.

    A field of type `Mapping[str, C]` maps names to nested configs C; its default is the empty dict.

    Args:
        default: Value where none is given.
        description: What it means, with its unit.
        minimum: Smallest value allowed.
        maximum: Largest value allowed.
        choices: Values allowed; empty: any.
        live: Whether the ROS parameter may be changed while its node runs.
    """
    metadata = {"description": description, "minimum": minimum, "maximum": maximum, "choices": choices, "live": live}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of every configuration: converts what YAML and ROS give (int for float, list for tuple), then checks it."""

    def __post_init__(self) -> None:
        types = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _convert(field.name, getattr(self, field.name), types[field.name])
            _check_range(field, value)
            object.__setattr__(self, field.name, value)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, tuples as lists, ready for YAML, JSON and ROS."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


def config_from_mapping(cls: type[C], values: Mapping[str, Any], where: str) -> C:
    """Builds a config from a mapping.

    Args:
        cls: the config dataclass.
        values: key to value, as read from YAML, ROS parameters or the command line.
        where: named in the error, e.g. a file name or "parameters of node learner".

    Raises:
        ConfigError: unknown or missing key, wrong type, value out of range.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise ConfigError(f"{where}: unknown key '{key}', expected one of: {', '.join(sorted(fields))}")
    for name, field in fields.items():
        is_required = field.default is field.default_factory is dataclasses.MISSING
        if name not in values and is_required:
            raise ConfigError(f"{where}: key '{name}' is missing ({field.metadata['description']})")
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML mapping.

    Raises:
        ConfigError: no such file, not YAML, or not a mapping; or it has aliases, by which some lines can stand for more than fits into
            memory, and which a parameter file of ROS 2 may not have either.
    """
    try:
        text = path.read_text()
        _check_plain(text, path)
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    except (yaml.YAMLError, ValueError) as error:  # a date that is none is a ValueError
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, got {type(values).__name__}")
    return values


def _check_plain(text: str, path: Path) -> None:
    """Looks at the text before anything is made of it."""
    if len(text) > LARGEST_YAML:
        raise ConfigError(f"{path} has {len(text)} characters, expected at most {LARGEST_YAML}")
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"{path} has an alias (*{event.anchor}), expected every value written out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST_YAML:
            raise ConfigError(f"{path} is nested more than {DEEPEST_YAML} deep")


def config_from_yaml(cls: type[C], path: Path) -> C:
    """Reads a config from a YAML file whose keys are the fields of `cls`.

    Raises:
        ConfigError: see `read_yaml` and `config_from_mapping`.
    """
    return config_from_mapping(cls, read_yaml(path), str(path))


def _convert(name: str, value: Any, wanted: Any) -> Any:
    if typing.get_origin(wanted) is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"'{name}' must be a list, got {shown(value)}")
        return tuple(_convert(name, item, typing.get_args(wanted)[0]) for item in value)
    if typing.get_origin(wanted) is Mapping:
        return _convert_configs(name, value, typing.get_args(wanted)[1])
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise ConfigError(f"'{name}' is too large: {shown(value)}") from None
    if type(value) is not wanted:
        raise ConfigError(f"'{name}' must be of type {wanted.__name__}, got {shown(value)} ({type(value).__name__})")
    if wanted is float and not math.isfinite(value):
        raise ConfigError(f"'{name}' must be finite, got {value}")
    return value


def _convert_configs(name: str, value: Any, kind: type[Config]) -> dict[str, Config]:
    """Return nested configs by name, from mappings or from configs that exist already."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"'{name}' must be a mapping, got {shown(value)}")
    converted = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            converted[str(key)] = config_from_mapping(kind, item, f"'{name}.{key}'")
        elif isinstance(item, kind):
            converted[str(key)] = item
        else:
            raise ConfigError(f"'{name}.{key}' must be a mapping, got {shown(item)}")
    return converted


def shown(value: Any) -> str:
    """For an error: short, whatever it is."""
    return reprlib.repr(value)


def _check_range(field: dataclasses.Field[Any], value: Any) -> None:
    rules = field.metadata
    for item in value if isinstance(value, tuple) else (value,):
        if rules.get("choices") and item not in rules["choices"]:
            raise ConfigError(f"'{field.name}' must be one of {', '.join(rules['choices'])}, got {shown(item)}")
        if rules.get("minimum") is not None and item < rules["minimum"]:
            raise ConfigError(f"'{field.name}' must be at least {rules['minimum']}, got {item}")
        if rules.get("maximum") is not None and item > rules["maximum"]:
            raise ConfigError(f"'{field.name}' must be at most {rules['maximum']}, got {item}")
