"""Faults on the way between an actor and a simulated arm: late commands and dropped states."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from sql_ros.robot.arm import Vector


class Command(NamedTuple):
    """A command on its way: mode, values (N,), and the time to reach a position in [s]."""

    mode: str
    values: Vector
    over_s: float


class CommandDelay:
    """Delivers each command a number of commands later."""

    def __init__(self) -> None:
        self._drawn = 0  # commands, without a disturbance
        self._delay = 0  # commands, now
        self._commands: deque[Command] = deque()

    @property
    def commands(self) -> int:
        """Return by how many commands each one is delayed now."""
        return self._delay

    def draw(self, most: int, rng: np.random.Generator) -> None:
        """Draw the delay from 0 to `most` commands, to be set by `restore`; drop the commands
        on their way.
        """
        self._drawn = int(rng.integers(most + 1))
        self._commands.clear()

    def restore(self) -> None:
        """Restore the drawn delay; drop the commands that are older than it allows."""
        self._delay = self._drawn
        while len(self._commands) > self._delay:
            self._commands.popleft()

    def set(self, commands: int) -> None:
        """Set the delay to a number of commands, until `restore`."""
        self._delay = commands

    def send(self, command: Command) -> Command | None:
        """Take a command; return the one that arrives now, None if none does."""
        self._commands.append(command)
        return self._commands.popleft() if len(self._commands) > self._delay else None


class StateDropout:
    """Draws which state messages are dropped."""

    def __init__(self) -> None:
        self._share = 0.0
        self._rng = np.random.default_rng(0)

    def begin(self, share: float, seed: int) -> None:
        """Drop a share of the states from now on.

        Args:
            share: Share of dropped states, from 0 to less than 1.
            seed: Seed of the draws.
        """
        self._share = share
        self._rng = np.random.default_rng(seed)

    def end(self) -> None:
        """Drop no states any more."""
        self._share = 0.0

    def draw(self) -> bool:
        """Draw whether this state message is dropped."""
        return bool(self._share) and bool(self._rng.random() < self._share)
