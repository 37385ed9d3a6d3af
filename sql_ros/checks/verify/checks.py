"""The comparison of a measured number with its limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sql_ros.common.errors import ConfigError

KINDS = ("at most", "at least")

Progress = Callable[[str], None]  # called with a line of text from time to time


@dataclass(frozen=True)
class Check:
    """One measured number and the limit that it has to keep.

    Attributes:
        group: Problem that was solved, or part that was examined.
        name: Name of the number, with its unit if it has one: a situation, ": ", and the quantity.
        value: The number; may be nan.
        limit: The limit.
        kind: Side of the limit on which the value has to lie: "at most" or "at least" the limit.
        judged: Whether the value has to keep its limit. A number that is not judged is shown for
            comparison, e.g. the paper's variant of a method.

    Raises:
        ConfigError: `kind` is something else.
    """

    group: str
    name: str
    value: float
    limit: float
    kind: str = "at most"
    judged: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(
                f"the kind of check '{self.name}' is '{self.kind}', expected one of"
                f" {', '.join(KINDS)}"
            )

    @property
    def passed(self) -> bool:
        """Return whether the value keeps its limit, also for a check that is not judged; nan never
        does.
        """
        # both comparisons are false for nan
        return bool(
            self.value <= self.limit if self.kind == "at most" else self.value >= self.limit
        )
