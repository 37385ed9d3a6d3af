"""Reference page of topics and services: who uses them, their types and their purposes.

The security policy lists what each process uses, and a test compares it with running nodes. Types
and purposes are those of the tables in docs/stack.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from sql_ros.checks.site.markdown import table
from sql_ros.common.errors import ConfigError

POLICY = "config/security/sawyer_stack.policy.xml"
DESCRIPTIONS = "docs/stack.md"
CHAPTER = "## Topics and services"
OF_RCLPY = re.compile(
    r"/(rosout|parameter_events|.*/transition_event|.*parameters?(_types|_atomically)?"
    r"|.*/get_(state|available_states|available_transitions|transition_graph|type_description)"
    r"|.*/change_state)"
)  # every node or every managed node has them
SIDES = {
    ("topics", "publish"): "from",
    ("topics", "subscribe"): "to",
    ("services", "request"): "from",
    ("services", "reply"): "to",
}


def used_names(root: Path) -> dict[str, dict[str, dict[str, list[str]]]]:
    """Return who uses what: "topics" or "services" to name to "from" and "to" to processes.

    Topics and services of rclpy itself are left out.

    Args:
        root: Folder of the repository.
    """
    used: dict[str, dict[str, dict[str, list[str]]]] = {"topics": {}, "services": {}}
    for enclave in ElementTree.parse(root / POLICY).getroot().iter("enclave"):
        process = enclave.attrib["path"].rsplit("/", 1)[1]
        for part in enclave.iter():
            for right in set(part.attrib) & {"publish", "subscribe", "request", "reply"}:
                for child in part:
                    name = (child.text or "").strip()
                    if not OF_RCLPY.fullmatch(name):
                        sides = used[part.tag].setdefault(name, {"from": [], "to": []})
                        sides[SIDES[part.tag, right]].append(process)
    return used


def described_names(root: Path) -> dict[str, tuple[str, str]]:
    """Return type and purpose of each topic and service of docs/stack.md, by name with a slash.

    Args:
        root: Folder of the repository.
    """
    chapter = (root / DESCRIPTIONS).read_text().split(f"{CHAPTER}\n")[1].split("\n## ")[0]
    found = {}
    for line in chapter.splitlines():
        cells = line.strip("| ").split(" | ")
        if line.startswith("| `") and len(cells) == 3:
            for name in re.findall(r"`([\w/<>]+)`", cells[0]):
                found[f"/{name.lstrip('/')}"] = (cells[1], cells[2])
    return found


def topics_page(root: Path) -> str:
    """Return the page of topics and services.

    Args:
        root: Folder of the repository.

    Raises:
        ConfigError: A topic or service of a process is not described in docs/stack.md.
    """
    used = used_names(root)
    described = described_names(root)
    topics = table(
        ["topic", "type", "published by", "subscribed by", "purpose"],
        _rows(used["topics"], described),
    )
    services = table(
        ["service", "type", "called by", "served by", "purpose"],
        _rows(used["services"], described),
    )
    return f"""# Topics and services

Names are those of a simulated stack without a namespace. The columns of processes are those of the
[security policy](../../{POLICY}). `operator` is you. [The stack](../stack.md#topics-and-services)
has the same names by purpose, also those of a real arm.

## Topics
{topics}
## Services
{services}
Every node also has the topics and services of rclpy for parameters, and learner, actor and
sim_bridge those of a managed node."""


def _rows(
    names: dict[str, dict[str, list[str]]], described: dict[str, tuple[str, str]]
) -> Iterator[tuple[str, ...]]:
    """Yield the row of each topic or service.

    Args:
        names: Name to the processes at both sides.
        described: Name to type and purpose.

    Raises:
        ConfigError: A name is not described.
    """
    for name, sides in sorted(names.items()):
        if name not in described:
            raise ConfigError(f"'{name}' of {POLICY} is not in {DESCRIPTIONS}, '{CHAPTER[3:]}'")
        kind, purpose = described[name]
        users = [", ".join(sides[side]) for side in ("from", "to")]
        yield f"`{name}`", kind, *users, re.sub(r"\]\((?=[\w.]+\.md)", "](../", purpose)
