"""Parameters of a stack's nodes from YAML files in the forms that ROS knows.

========================================  =================================================================
section                                   whose parameters
========================================  =================================================================
`actor:`                                  of this node of the stack, whatever the stack's namespace
`/left/actor:`, `left: {actor: ...}`      of this node of the stack in this namespace
`/**:`, `/left/*:`                        of every matching node that declares the parameter
`/**/actor:`                              of this node
========================================  =================================================================

A node's own section wins over one with wildcards. Sections of other namespaces are left to their stacks.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from sql_ros.core.config import read_yaml
from sql_ros.core.errors import ConfigError
from sql_ros.share import find_file, share_folder

NODES = ("learner", "actor", "sim_bridge", "monitor", "trials")
OF_RCLPY = ("use_sim_time", "start_type_description_service", "qos_overrides")  # every node declares them
TOKENS = {"**": "(/[^/]+)*", "*": "/[^/]+"}  # in the name of a section

Parameters = dict[str, dict[str, Any]]  # per node, nested keys joined by dots


def read_params(name: str, task: str, namespace: str = "") -> Parameters:
    """Read a params file; what launch arguments set wins over it.

    Args:
        name: of the file. Empty: that of the stack, and over it config/params/<task>.yaml, if there is one.
        task: name of the task.
        namespace: of the stack.

    Raises:
        ConfigError: A section is of no node of this stack, or a key under a wildcard is declared by none. rcl would
            ignore either in silence.
    """
    if name:
        return _read_sections(find_file(name, "config"), namespace)
    parameters = _read_sections(share_folder() / "config" / "sawyer_stack.yaml", namespace)
    own = share_folder() / "config" / "params" / f"{task}.yaml"
    if own.is_file():
        for node, values in _read_sections(own, namespace).items():
            parameters[node] |= values
    return parameters


def _read_sections(path: Path, namespace: str) -> Parameters:
    full_names = {node: "/".join(["", *namespace.strip("/").split("/"), node]).replace("//", "/") for node in NODES}
    shared: Parameters = {node: {} for node in NODES}
    own: Parameters = {node: {} for node in NODES}
    foreign = []
    for section, values in _sections(read_yaml(path), "", path):
        nodes = _nodes_of(section, full_names)
        if "*" in section and len(nodes) != 1:
            for node, chosen in _distribute(section, values, nodes, path).items():
                shared[node] |= chosen
        elif nodes:
            own[nodes[0]] |= values
        else:
            _check_node(section, path)
            foreign.append(section)
    if foreign and not any(own.values()) and not any(shared.values()):
        raise ConfigError(f"{path}: no section is for namespace '{namespace}', it has: {', '.join(foreign)}")
    return {node: {**shared[node], **own[node]} for node in NODES}


def _sections(tree: Mapping[str, Any], above: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every section with its parameters; the name has a leading slash unless it is that of a node alone."""
    for key, content in tree.items():
        name = f"{above}/{str(key).strip('/')}" if above or "/" in str(key) or not _has_parameters(content) else str(key)
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: section '{name}' must hold 'ros__parameters:' with parameters, or nodes")
        if not _has_parameters(content):
            yield from _sections(content, name, path)
            continue
        if len(content) != 1 or not isinstance(content["ros__parameters"], dict):
            raise ConfigError(f"{path}: section '{name}' must hold 'ros__parameters:' with parameters, and nothing else")
        yield name, _flat(content["ros__parameters"])


def _has_parameters(content: Any) -> bool:
    return isinstance(content, dict) and "ros__parameters" in content


def _nodes_of(section: str, full_names: Mapping[str, str]) -> list[str]:
    """Return the nodes that a section is for."""
    if "/" not in section and "*" not in section:
        return [section] if section in full_names else []
    tokens = section.strip("/").split("/")
    pattern = re.compile("".join(TOKENS.get(token, f"/{re.escape(token)}") for token in tokens))
    return [node for node, name in full_names.items() if pattern.fullmatch(name)]


def _check_node(section: str, path: Path) -> None:
    name = section.rpartition("/")[2]
    if name not in NODES and "*" not in section:
        raise ConfigError(f"{path}: section '{section}' is no node of this stack, expected one of: /**, {', '.join(NODES)}")


def _distribute(section: str, values: dict[str, Any], nodes: list[str], path: Path) -> Parameters:
    """Return parameters under a wildcard per node that declares them.

    Raises:
        ConfigError: No node declares one of them.
    """
    of_all = {key: value for key, value in values.items() if key.split(".")[0] in OF_RCLPY}
    others = {key: value for key, value in values.items() if key not in of_all}
    known = declared() if others else {}
    for key in others:
        _check_key(key, known, f"{path}: section '{section}'")
    return {node: of_all | {key: value for key, value in others.items() if key in known.get(node, ())} for node in nodes}


def _check_key(key: str, known: Mapping[str, list[str]], where: str) -> None:
    names = sorted({name for names_of_node in known.values() for name in names_of_node})
    if key not in names:
        close = get_close_matches(key, names, 3)
        advice = f"did you mean {', '.join(close)}?" if close else "sql-ros params lists them"
        raise ConfigError(f"{where}: no node of this stack has a parameter '{key}': {advice}")


@cache
def declared() -> dict[str, list[str]]:
    """Return the names of the parameters that each node declares, by asking a process that may import the nodes.

    Raises:
        ConfigError: That failed.
    """
    answer = _ask_nodes()
    try:
        return dict(json.loads(answer.stdout))
    except ValueError:
        raise ConfigError(f"cannot ask the nodes which parameters they have: {_last_line(answer)}") from None


def check_parameters(parameters: Mapping[str, Mapping[str, Any]]) -> None:
    """Judge the parameters of each node as the nodes themselves would.

    Raises:
        ConfigError: One is unknown, of the wrong type or out of range.
    """
    answer = _ask_nodes("--check", question=json.dumps(parameters))
    if answer.returncode:
        raise ConfigError(_last_line(answer))


def _ask_nodes(*words: str, question: str = "") -> subprocess.CompletedProcess[str]:
    """Run `sql_ros.nodes.declared`, which may import rclpy."""
    command = [sys.executable, "-m", "sql_ros.nodes.declared", *words]
    return subprocess.run(command, input=question, capture_output=True, text=True, check=False)


def _last_line(answer: subprocess.CompletedProcess[str]) -> str:
    return (answer.stderr.strip().splitlines() or ["no answer"])[-1]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat
