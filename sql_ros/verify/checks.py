"""What a comparison with an exact answer came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sql_ros.core.errors import ConfigError

KINDS = ("at most", "at least")

Progress = Callable[[str], None]  # told a line from time to time


@dataclass(frozen=True)
class Check:
    """One measured number beside the limit it has to keep.

    Attributes:
        group: the problem that was solved.
        name: what was measured, with its unit where it has one.
        value: what came out.
        limit: what it may be.
        kind: on which side of the limit the value has to lie, "at most" or "at least".
        judged: False: stands beside for comparison and need not pass, e.g. the paper's variant of what ours does.
    """

    group: str
    name: str
    value: float
    limit: float
    kind: str = "at most"
    judged: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"the kind of check '{self.name}' is '{self.kind}', expected one of {', '.join(KINDS)}")

    @property
    def passed(self) -> bool:
        """Whether the value keeps its limit; nan never does."""
        # both comparisons are false for nan
        return bool(self.value <= self.limit if self.kind == "at most" else self.value >= self.limit)
