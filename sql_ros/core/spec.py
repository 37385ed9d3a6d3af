"""What an actor, a learner and a policy must agree on before they may talk to each other."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from sql_ros.core.config import shown

COMMAND_MODES = ("position", "velocity", "torque")


@dataclass(frozen=True)
class TaskSpec:
    """The interface of a task: every number that crosses a process boundary is named here.

    Attributes:
        task: name of the task, e.g. "sawyer_reach".
        observation: one label per component, (S,).
        observation_offset: what the networks subtract from each component before they divide by its scale, (S,), in its unit.
        observation_scale: the size of a difference that matters in each component, (S,): observations travel in SI units, networks see
            them near 1. With metres left as metres `sawyer_reach` took three times the transitions.
        joints: names of the joints in command order, (N,); the action has one component per joint, A = N.
        command_mode: what an action becomes: "position" [rad], "velocity" [rad/s] or "torque" [N m].
        action_scale: command at action 1, per joint (N,), in the unit of the command mode.
        control_rate_hz: control steps per second.
    """

    task: str
    observation: tuple[str, ...]
    observation_offset: tuple[float, ...]
    observation_scale: tuple[float, ...]
    joints: tuple[str, ...]
    command_mode: str
    action_scale: tuple[float, ...]
    control_rate_hz: float

    @property
    def observation_size(self) -> int:
        """S."""
        return len(self.observation)

    @property
    def action_size(self) -> int:
        """A."""
        return len(self.joints)

    @cached_property
    def schema_hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON: equal if and only if all fields are."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> TaskSpec:
        """What `to_json` gave.

        Raises:
            ValueError, TypeError: it is not that.
        """
        values: dict[str, Any] = json.loads(text)
        fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return cls(**fields)

    def differences(self, other: dict[str, Any]) -> str:
        """Names the fields in which another spec (its JSON, decoded) differs, the task first, and of lists the first entry that does."""
        mine = json.loads(json.dumps(asdict(self)))  # in the order of the fields
        return ", ".join(_difference(key, other.get(key), mine[key]) for key in mine if other.get(key) != mine[key])


def _difference(name: str, theirs: Any, mine: Any) -> str:
    if isinstance(theirs, list) and isinstance(mine, list):
        if len(theirs) != len(mine):
            return f"{name}: {len(theirs)} entries instead of {len(mine)}"
        entry = next(entry for entry, (their, my) in enumerate(zip(theirs, mine)) if their != my)
        return _difference(f"{name}[{entry}]", theirs[entry], mine[entry])
    return f"{name}: {shown(theirs)} instead of {shown(mine)}"
