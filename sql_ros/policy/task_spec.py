"""The interface of a task, on which an actor, a learner and a policy must agree."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from sql_ros.common.config import shown

COMMAND_MODES = ("position", "velocity", "torque")


@dataclass(frozen=True)
class TaskSpec:
    """The interface of a task: every number that crosses a process boundary is named here.

    Attributes:
        task: name of the task, e.g. "sawyer_reach".
        observation: one label per component, (S,).
        observation_offset: the networks subtract it from the observation, (S,), in the unit of each
            component.
        observation_scale: the networks then divide by it, (S,), in the unit of each component: the
            size of a difference that matters. Observations are sent in SI units, and the networks
            need values near 1: without scaling `sawyer_reach` took three times the transitions.
        joints: names of the joints in command order, (N,); the action has one component per joint,
            A = N.
        command_mode: quantity that is commanded: "position" [rad], "velocity" [rad/s] or "torque"
            [N m].
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
        """Number of components of the observation, S."""
        return len(self.observation)

    @property
    def action_size(self) -> int:
        """Number of components of the action, A."""
        return len(self.joints)

    @cached_property
    def schema_hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of `to_json`; two specs differ in it if in
        any field.
        """
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Return all fields as canonical JSON: sorted keys, no spaces."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> TaskSpec:
        """Read the result of `to_json`.

        Raises:
            ValueError: the text is not JSON.
            TypeError: a field is missing or unknown.
        """
        values: dict[str, Any] = json.loads(text)
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**fields)

    def differences(self, other: dict[str, Any]) -> str:
        """Describe the fields in which another spec differs from this one.

        Args:
            other: the decoded JSON of the other spec.

        Returns:
            "name: other value instead of own value" of each such field, in the order of the fields,
            joined by commas; of lists the first entry that differs.
        """
        own = json.loads(json.dumps(asdict(self)))  # in the order of the fields
        return ", ".join(
            _difference(key, other.get(key), own[key]) for key in own if other.get(key) != own[key]
        )


def _difference(name: str, other: Any, own: Any) -> str:
    """Describe the difference of two values of a field, of lists in their first entry that differs.

    Args:
        name: of the field.
        other: value in the other spec.
        own: value in this spec, not equal to it.
    """
    if isinstance(other, list) and isinstance(own, list):
        if len(other) != len(own):
            return f"{name}: {len(other)} entries instead of {len(own)}"
        index = next(index for index in range(len(own)) if other[index] != own[index])
        return _difference(f"{name}[{index}]", other[index], own[index])
    return f"{name}: {shown(other)} instead of {shown(own)}"
