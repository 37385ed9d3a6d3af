"""Parameters of a stack's nodes from YAML files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sql_ros.core.config import read_yaml
from sql_ros.core.errors import ConfigError
from sql_ros.share import find_file, share_folder


def read_params(name: str, task: str) -> dict[str, dict[str, Any]]:
    """Parameters per section of a params file, nested keys joined by dots; what launch arguments set wins over them.

    Where none is named: those of the stack, and over them what config/params/<task>.yaml says, if there is one.
    Sections must be nodes of this stack: rcl would ignore any other in silence.
    """
    if name:
        return _read_sections(find_file(name, "config"))
    sections = _read_sections(share_folder() / "config" / "sawyer_stack.yaml")
    own = share_folder() / "config" / "params" / f"{task}.yaml"
    if own.is_file():
        for section, values in _read_sections(own).items():
            sections[section] |= values
    return sections


def _read_sections(path: Path) -> dict[str, dict[str, Any]]:
    sections: dict[str, dict[str, Any]] = {section: {} for section in ("/**", "learner", "actor", "sim_bridge", "monitor", "trials")}
    for section, content in read_yaml(path).items():
        if section not in sections:
            raise ConfigError(f"{path}: section '{section}' is no node of this stack, expected one of: {', '.join(sections)}")
        if not isinstance(content, dict) or not isinstance(content.get("ros__parameters"), dict) or len(content) != 1:
            raise ConfigError(f"{path}: section '{section}' must hold 'ros__parameters:' with parameters, and nothing else")
        sections[section] = _flat(content["ros__parameters"])
    return sections


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat
