"""Read the parameters of a stack's nodes from YAML files, in the forms that ROS knows.

========================================  =====================================================
section                                   applies to
========================================  =====================================================
`actor:`                                  the actor of the stack, whatever the namespace of the
                                          stack
`/left/actor:`, `left: {actor: ...}`      the actor of a stack in namespace `left`
`/**:`, `/left/*:`                        every matching node that declares the parameter
`/**/actor:`                              the actor of the stack
========================================  =====================================================

A parameter in a node's own section precedes one in a section with wildcards. Sections of other
namespaces are ignored.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from sql_ros.common.child_process import python_words
from sql_ros.common.config import read_yaml
from sql_ros.common.data_files import find_file, share_folder
from sql_ros.common.errors import ConfigError

NODES = ("learner", "actor", "sim_bridge", "monitor", "trials", "page")
# parameters that rclpy declares in every node
OF_RCLPY = ("use_sim_time", "start_type_description_service", "qos_overrides")
WILDCARDS = {"**": "(/[^/]+)*", "*": "/[^/]+"}  # part of a section's name to regular expression

Parameters = dict[str, dict[str, Any]]  # node to parameter name to value; nested keys have dots


def read_params(name: str, task: str, namespace: str = "") -> Parameters:
    """Return the parameters of a params file that apply to the stack.

    `precedence.py` combines them with the launch arguments.

    Args:
        name: Path, or name in config/, of the file. Empty: `config/sawyer_stack.yaml`, whose values
            are replaced by those of `config/params/<task>.yaml` if there is such a file.
        task: Name of the task.
        namespace: ROS namespace of the stack; empty: the root.

    Returns:
        Node to parameter name to value, for every node of `NODES`. Nested keys are joined by dots.

    Raises:
        ConfigError: A section is of no node of this stack, or no node declares a key of a section
            with wildcards. (rcl would ignore both silently.)
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
    """Return the parameters of one file: node to parameter name to value.

    A section that names one node comes before sections with wildcards for several.

    Args:
        path: Path of the file.
        namespace: ROS namespace of the stack; empty: the root.

    Raises:
        ConfigError: A section or a key is unknown, or all sections are of other namespaces.
    """
    full_names = {
        node: "/".join(["", *namespace.strip("/").split("/"), node]).replace("//", "/")
        for node in NODES
    }
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
        raise ConfigError(
            f"{path}: no section is for namespace '{namespace}', it has: {', '.join(foreign)}"
        )
    return {node: {**shared[node], **own[node]} for node in NODES}


def _sections(
    tree: Mapping[str, Any], above: str, path: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every section of a params file with its parameters.

    Args:
        tree: Content of the file, or of one of its sections.
        above: Names of the enclosing sections, joined by slashes; empty at the top.
        path: Path of the file, for errors.

    Yields:
        Name of the section, with a leading slash unless it is only a node's name; and its
        parameters, name to value, with nested keys joined by dots.

    Raises:
        ConfigError: A section does not have the form that ROS expects.
    """
    for key, content in tree.items():
        name = (
            f"{above}/{str(key).strip('/')}"
            if above or "/" in str(key) or not _has_parameters(content)
            else str(key)
        )
        if not isinstance(content, dict):
            raise ConfigError(
                f"{path}: section '{name}' must hold 'ros__parameters:' with parameters, or nodes"
            )
        if not _has_parameters(content):
            yield from _sections(content, name, path)
            continue
        if len(content) != 1 or not isinstance(content["ros__parameters"], dict):
            raise ConfigError(
                f"{path}: section '{name}' must hold 'ros__parameters:' with parameters, and"
                " nothing else"
            )
        yield name, _flatten(content["ros__parameters"])


def _has_parameters(content: Any) -> bool:
    """Return whether a part of a params file has the key `ros__parameters`."""
    return isinstance(content, dict) and "ros__parameters" in content


def _nodes_of(section: str, full_names: Mapping[str, str]) -> list[str]:
    """Return the nodes of the stack to which a section applies; empty if there are none.

    Args:
        section: Name of the section, possibly with wildcards.
        full_names: Node to its full name.
    """
    if "/" not in section and "*" not in section:
        return [section] if section in full_names else []
    tokens = section.strip("/").split("/")
    pattern = re.compile("".join(WILDCARDS.get(token, f"/{re.escape(token)}") for token in tokens))
    return [node for node, name in full_names.items() if pattern.fullmatch(name)]


def _check_node(section: str, path: Path) -> None:
    """Check that a section without wildcards names a node of `NODES`, in any namespace.

    Args:
        section: Name of the section.
        path: Path of the file, for the error.

    Raises:
        ConfigError: It names no such node.
    """
    name = section.rpartition("/")[2]
    if name not in NODES and "*" not in section:
        raise ConfigError(
            f"{path}: section '{section}' is no node of this stack, expected one of: /**,"
            f" {', '.join(NODES)}"
        )


def _distribute(section: str, values: dict[str, Any], nodes: list[str], path: Path) -> Parameters:
    """Distribute the parameters of a section with wildcards to the nodes that declare them.

    Args:
        section: Name of the section, for errors.
        values: Parameter name to value.
        nodes: Nodes to which the section applies.
        path: Path of the file, for errors.

    Returns:
        Node to parameter name to value.

    Raises:
        ConfigError: No node declares one of them.
    """
    of_all = {key: value for key, value in values.items() if key.split(".")[0] in OF_RCLPY}
    others = {key: value for key, value in values.items() if key not in of_all}
    known = declared() if others else {}
    for key in others:
        _check_key(key, known, f"{path}: section '{section}'")
    return {
        node: of_all | {key: value for key, value in others.items() if key in known.get(node, ())}
        for node in nodes
    }


def _check_key(key: str, known: Mapping[str, list[str]], section: str) -> None:
    """Check that at least one node declares a parameter.

    Args:
        key: Name of the parameter.
        known: Node to the names that it declares.
        section: File and section, for the error.

    Raises:
        ConfigError: No node declares it; the error suggests similar names.
    """
    names = sorted({name for names_of_node in known.values() for name in names_of_node})
    if key not in names:
        close = get_close_matches(key, names, 3)
        advice = f"did you mean {', '.join(close)}?" if close else "sql-ros params lists them"
        raise ConfigError(f"{section}: no node of this stack has a parameter '{key}': {advice}")


@cache
def declared() -> dict[str, list[str]]:
    """Return the parameters that each node declares: node to parameter names.

    A child process imports the nodes, because this package must not import ROS. The result is
    cached.

    Raises:
        ConfigError: The child process failed.
    """
    answer = _ask_nodes()
    try:
        return dict(json.loads(answer.stdout))
    except ValueError:
        raise ConfigError(
            f"cannot ask the nodes which parameters they have: {_last_line(answer)}"
        ) from None


def check_parameters(parameters: Mapping[str, Mapping[str, Any]]) -> None:
    """Check parameters as the nodes themselves do, in a child process that imports the nodes.

    Args:
        parameters: Node to parameter name to value.

    Raises:
        ConfigError: A parameter is unknown, of the wrong type or out of range.
    """
    answer = _ask_nodes("--check", question=json.dumps(parameters))
    if answer.returncode:
        raise ConfigError(_last_line(answer))


def _ask_nodes(*words: str, question: str = "") -> subprocess.CompletedProcess[str]:
    """Run `sql_ros.nodes.declared` in a child process, and wait for its end.

    Args:
        words: Command-line arguments.
        question: Text for its standard input.

    Returns:
        The ended process with its exit code and output.
    """
    command = [*python_words(), "-m", "sql_ros.nodes.declared", *words]
    return subprocess.run(command, input=question, capture_output=True, text=True, check=False)


def _last_line(answer: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that an ended process wrote to stderr; "no answer" if there is none."""
    return (answer.stderr.strip().splitlines() or ["no answer"])[-1]


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested parameters as one level, with keys joined by dots.

    Args:
        tree: Nested parameters.
        prefix: Begin of all keys.
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(
            _flatten(value, f"{prefix}{key}.")
            if isinstance(value, dict)
            else {f"{prefix}{key}": value}
        )
    return flat
