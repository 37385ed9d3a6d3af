"""The interface of a task, on which an actor, a learner and a policy must agree."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from sql_ros.common.config import shown

COMMAND_MODES = ("position", "velocity", "torque")


@dataclass(frozen=True)
class TaskSpec:
    """The interface of a task. It describes observation and action wherever they cross a process
    boundary.

    Attributes:
        task: Name of the task, e.g. "sawyer_reach".
        observation: Label of each component of the observation (S,).
        observation_offset: The networks subtract this from the observation (S,), in the unit of
            each component.
        observation_scale: The networks then divide by this (S,), in the unit of each component. It
            is the size of a difference that matters. Observations are sent in SI units, and
            networks need values near 1: without scaling `sawyer_reach` took three times the
            transitions.
        joints: Names of the joints in command order (N,).
        command_mode: Quantity that is commanded: "position" [rad], "velocity" [rad/s] or "torque"
            [N m].
        action_scale: Value at action 1 of each component of the action (A,). In the action space
            `joint`, A = N, the unit is that of the command mode, and a position is relative to the
            measured one. In the action space `twist` it is a velocity of the tool [m/s] or [rad/s].
        control_rate_hz: Control steps per second.
        action: Label of each component of the action (A,), e.g. "base/linear_x" in the action space
            `twist`; empty in the action space `joint`, where each component is that of a joint.
        task_code: Hash of the code of the task (`robot/code_hash.py`); empty: not known. It is no
            part of the interface: specs that differ in it alone are equal.
    """

    task: str
    observation: tuple[str, ...]
    observation_offset: tuple[float, ...]
    observation_scale: tuple[float, ...]
    joints: tuple[str, ...]
    command_mode: str
    action_scale: tuple[float, ...]
    control_rate_hz: float
    action: tuple[str, ...] = ()
    task_code: str = field(default="", compare=False)

    @property
    def observation_size(self) -> int:
        """Return the number of components of the observation, S."""
        return len(self.observation)

    @property
    def action_size(self) -> int:
        """Return the number of components of the action, A."""
        return len(self.action_scale)

    @cached_property
    def schema_hash(self) -> str:
        """Return the first 16 hexadecimal digits of the SHA-256 of `to_json`.

        Two specs that are not equal have different hashes.
        """
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Return all fields but `task_code` as canonical JSON: sorted keys, no spaces. An empty
        `action` is left out, as in policies of earlier versions.
        """
        values = self._compared()
        if not self.action:
            del values["action"]
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    def _compared(self) -> dict[str, Any]:
        """Return the fields of the interface by name, in their order."""
        values = asdict(self)
        del values["task_code"]
        return values

    def code_complaint(self, other: str) -> str:
        """Return that something was made with other code of the task, in words.

        Args:
            other: Hash of that code; empty: not known.

        Returns:
            The end of a sentence; empty if the codes are equal or one of them is not known.
        """
        if not other or not self.task_code or other == self.task_code:
            return ""
        return (
            f"with other code of task '{self.task}' ({other}, now {self.task_code}): observation,"
            " reward and success may mean something else"
        )

    @classmethod
    def from_json(cls, text: str) -> TaskSpec:
        """Build a spec from the result of `to_json`. Types and lengths of the values are not
        checked.

        Raises:
            ValueError: The text is not JSON.
            TypeError: A field is missing or unknown.
        """
        values: dict[str, Any] = json.loads(text)
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**fields)

    def differences(self, other: dict[str, Any]) -> str:
        """Describe the fields in which another spec differs from this one.

        Args:
            other: Decoded JSON of the other spec.

        Returns:
            "name: other value instead of own value" for each such field, in the order of the
            fields, joined by commas. For a list, only its first different entry is named. Empty if
            nothing differs.
        """
        own = json.loads(json.dumps(self._compared()))  # in the order of the fields
        absent: dict[str, Any] = {"action": []}  # left out by `to_json` where it is empty
        others = {key: other.get(key, absent.get(key)) for key in own}
        return ", ".join(
            _difference(key, others[key], own[key]) for key in own if others[key] != own[key]
        )


def _difference(name: str, other: Any, own: Any) -> str:
    """Describe the difference of two values of a field; of two lists, in their first different
    entry.

    Args:
        name: Name of the field.
        other: Value in the other spec.
        own: Value in this spec, not equal to `other`.
    """
    if isinstance(other, list) and isinstance(own, list):
        if len(other) != len(own):
            return f"{name}: {len(other)} entries instead of {len(own)}"
        index = next(index for index in range(len(own)) if other[index] != own[index])
        return _difference(f"{name}[{index}]", other[index], own[index])
    return f"{name}: {shown(other)} instead of {shown(own)}"
