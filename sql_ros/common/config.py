"""Configuration: frozen dataclasses that check their values.

The same fields declare the keys of YAML files, ROS parameters and options of commands.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from sql_ros.common.errors import ConfigError

C = TypeVar("C", bound="Config")
LARGEST_YAML = 200_000  # characters
DEEPEST_YAML = 20  # levels of nesting


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
    A field of type `X | None` may be None, which means "not known".

    Args:
        default: Default value; without one the field is required.
        description: What the field means, with its unit.
        minimum: Smallest allowed value; None: no limit.
        maximum: Largest allowed value; None: no limit.
        choices: Allowed values; empty: any value.
        live: Whether the ROS parameter may be changed while its node runs.

    Returns:
        A dataclass field with these rules in its metadata.
    """
    metadata = {
        "description": description,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "live": live,
    }
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def fixed(value: Any) -> Any:
    """Fix an inherited field of a `Config` at a value: it is no option of the class any more.

    Args:
        value: Value of the field in every instance.
    """
    return dataclasses.field(default=value, init=False)


def options_of(cls: type[Config] | Config) -> list[dataclasses.Field[Any]]:
    """Return the fields of a config that can be given: all but the fixed ones."""
    return [field for field in dataclasses.fields(cls) if field.init]


@dataclasses.dataclass(frozen=True)
class Config:
    """Base class of every configuration.

    Construction converts values from the types that YAML and ROS use (int to float, list to tuple,
    mapping to nested config), and checks each value.

    Raises:
        ConfigError: A value has the wrong type or is out of range.
    """

    def __post_init__(self) -> None:
        types = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _convert(field.name, getattr(self, field.name), types[field.name])
            _check_range(field, value)
            object.__setattr__(self, field.name, value)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name as plain values, tuples as lists, for YAML, JSON and ROS."""
        return {
            k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()
        }


def config_from_mapping(cls: type[C], values: Mapping[str, Any], source: str) -> C:
    """Build a config from a mapping.

    Args:
        cls: The config dataclass.
        values: Values by field name, as read from YAML, ROS parameters or the command line.
        source: Source of the values, named in errors, e.g. a file name.

    Raises:
        ConfigError: A key is unknown or missing, a value has the wrong type or is out of range.
    """
    fields = {field.name: field for field in options_of(cls)}
    for key in values:
        if key not in fields:
            raise ConfigError(
                f"{source}: unknown key '{key}', expected one of: {', '.join(sorted(fields))}"
            )
    for name, field in fields.items():
        is_required = field.default is field.default_factory is dataclasses.MISSING
        if name not in values and is_required:
            raise ConfigError(
                f"{source}: key '{name}' is missing ({field.metadata['description']})"
            )
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that contains a mapping.

    Aliases are refused: a few lines of them can stand for more than fits into memory, and parameter
    files of ROS 2 may not have them either.

    Args:
        path: Path of the file.

    Returns:
        The mapping.

    Raises:
        ConfigError: The file cannot be read, is not YAML, contains no mapping, has an alias or a
            key twice, or is larger or more deeply nested than allowed.
    """
    try:
        text = path.read_text()
        _check_plain(text, path)
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        _check_unique(root, path)
        values = loader.construct_document(root) if root is not None else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    except (yaml.YAMLError, ValueError) as error:  # an invalid date is a ValueError
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path}: expected a mapping of keys to values, got {type(values).__name__}"
        )
    return values


def _check_plain(text: str, path: Path) -> None:
    """Check size, nesting and aliases of a YAML text before any value is built.

    Args:
        text: Content of the file.
        path: Path of the file, for errors.

    Raises:
        ConfigError: The text is too large, too deeply nested, or has an alias.
        yaml.YAMLError: The text is not YAML.
    """
    if len(text) > LARGEST_YAML:
        raise ConfigError(f"{path} has {len(text)} characters, expected at most {LARGEST_YAML}")
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(
                f"{path} has an alias (*{event.anchor}), expected every value written out"
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
            event, yaml.CollectionEndEvent
        )
        if depth > DEEPEST_YAML:
            raise ConfigError(f"{path} is nested more than {DEEPEST_YAML} deep")


def _check_unique(node: yaml.Node | None, path: Path) -> None:
    """Check that no mapping of a YAML document has a key twice. YAML forbids that, but its reader
    would take the last value.

    Args:
        node: Root of the document, or a part of it; None: the document is empty.
        path: Path of the file, for errors.

    Raises:
        ConfigError: A key is there twice.
    """
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_unique(item, path)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if isinstance(key, yaml.ScalarNode):
            if key.value in lines:
                raise ConfigError(
                    f"{path}, line {line}: key '{key.value}' is also in line {lines[key.value]},"
                    " expected it once"
                )
            lines[key.value] = line
        _check_unique(value, path)


def config_from_yaml(cls: type[C], path: Path) -> C:
    """Read a config from a YAML file.

    Args:
        cls: The config dataclass, whose fields are the keys of the file.
        path: Path of the file.

    Raises:
        ConfigError: The file cannot be read as a mapping (`read_yaml`), a key is unknown or
            missing, or a value does not fit (`config_from_mapping`).
    """
    return config_from_mapping(cls, read_yaml(path), str(path))


def _convert(name: str, value: Any, wanted: Any) -> Any:
    """Convert a value to the type that its field declares.

    Args:
        name: Name of the field, for errors.
        value: Value as read from YAML, ROS parameters or the command line.
        wanted: Declared type: bool, int, float, str, a tuple or a mapping of one type, a `Config`,
            or a union of one of these and None.

    Returns:
        The converted value; None stays None where the type allows it.

    Raises:
        ConfigError: The value is of another type, or a number is too large or not finite.
    """
    if isinstance(wanted, types.UnionType):
        if value is None:
            return None
        wanted = next(each for each in typing.get_args(wanted) if each is not types.NoneType)
    if typing.get_origin(wanted) is tuple:
        return _convert_items(name, value, typing.get_args(wanted)[0])
    if typing.get_origin(wanted) is Mapping:
        return _convert_mapping(name, value, typing.get_args(wanted)[1])
    if isinstance(wanted, type) and issubclass(wanted, Config) and isinstance(value, Mapping):
        return config_from_mapping(wanted, value, f"'{name}'")
    return _convert_scalar(name, value, wanted)


def _convert_items(name: str, value: Any, wanted: Any) -> tuple[Any, ...]:
    """Convert a list or tuple to a tuple whose items have a declared type.

    Args:
        name: Name of the field, for errors.
        value: The value, a list or a tuple.
        wanted: Declared type of the items.

    Raises:
        ConfigError: The value is no list, or an item is of another type.
    """
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"'{name}' must be a list, got {shown(value)}")
    return tuple(_convert(name, item, wanted) for item in value)


def _convert_scalar(name: str, value: Any, wanted: Any) -> Any:
    """Check the type of a single value, and convert it where a float is declared.

    An int is converted, and so is a text such as "1e-2" or "2e0": YAML 1.1 takes a number without a
    point for a text.

    Args:
        name: Name of the field, for errors.
        value: The value.
        wanted: Declared type: bool, int, float or str.

    Raises:
        ConfigError: The value is of another type, or a number is too large or not finite.
    """
    if wanted is float and isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise ConfigError(f"'{name}' is too large: {shown(value)}") from None
    if type(value) is not wanted:
        raise ConfigError(
            f"'{name}' must be of type {wanted.__name__}, got {shown(value)}"
            f" ({type(value).__name__})"
        )
    if wanted is float and not math.isfinite(value):
        raise ConfigError(f"'{name}' must be finite, got {value}")
    return value


def _convert_mapping(name: str, value: Any, kind: Any) -> dict[str, Any]:
    """Convert each item of a mapping to the declared type.

    Args:
        name: Name of the field, for errors.
        value: Mapping from names to items. A config may be given as a mapping from which it is
            built.
        kind: Declared type of the items, which may be a `Config`.

    Raises:
        ConfigError: The value is no mapping, or one of its items has another type.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"'{name}' must be a mapping, got {shown(value)}")
    converted: dict[str, Any] = {}
    for key, item in value.items():
        if not issubclass(kind, Config):
            converted[str(key)] = _convert(f"{name}.{key}", item, kind)
        elif isinstance(item, Mapping):
            converted[str(key)] = config_from_mapping(kind, item, f"'{name}.{key}'")
        elif isinstance(item, kind):
            converted[str(key)] = item
        else:
            raise ConfigError(f"'{name}.{key}' must be a mapping, got {shown(item)}")
    return converted


def shown(value: Any) -> str:
    """Return a value as a short text for an error message, cut off in the middle if it is long."""
    return reprlib.repr(value)


def _check_range(field: dataclasses.Field[Any], value: Any) -> None:
    """Check a value, or each item of a tuple, against choices, minimum and maximum of its field.

    None is always accepted.

    Raises:
        ConfigError: The value is not among the choices, below the minimum or above the maximum.
    """
    rules = field.metadata
    if value is None:
        return
    for item in value if isinstance(value, tuple) else (value,):
        if rules.get("choices") and item not in rules["choices"]:
            raise ConfigError(
                f"'{field.name}' must be one of {', '.join(rules['choices'])}, got {shown(item)}"
            )
        if rules.get("minimum") is not None and item < rules["minimum"]:
            raise ConfigError(f"'{field.name}' must be at least {rules['minimum']}, got {item}")
        if rules.get("maximum") is not None and item > rules["maximum"]:
            raise ConfigError(f"'{field.name}' must be at most {rules['maximum']}, got {item}")
