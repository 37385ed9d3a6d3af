"""Faults on the way between an actor and a simulated arm: delayed commands and dropped states."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from sql_ros.robot.arm import Vector


class DelayedCommand(NamedTuple):
    """A command on its way to the arm.

    Attributes:
        mode: Command mode.
        values: Values in the unit of the mode (N,).
        over_s: Time in which a position is reached [s]; 0: as fast as possible.
    """

    mode: str
    values: Vector
    over_s: float


class CommandDelay:
    """Delay each command by a number of commands, at first 0."""

    def __init__(self) -> None:
        self._drawn = 0  # delay without a disturbance, in commands
        self._delay = 0  # present delay, in commands
        self._commands: deque[DelayedCommand] = deque()  # commands on their way, oldest first

    @property
    def commands(self) -> int:
        """Return the present delay, in commands."""
        return self._delay

    def draw(self, most: int, rng: np.random.Generator) -> None:
        """Draw a delay from 0 to `most` commands, and drop the commands on their way.

        The drawn delay acts from the next `restore` on.

        Args:
            most: Largest delay, in commands.
            rng: Generator that is advanced.
        """
        self._drawn = int(rng.integers(most + 1))
        self._commands.clear()

    def restore(self) -> None:
        """Return to the drawn delay, and drop the oldest commands on their way until it is met."""
        self._delay = self._drawn
        while len(self._commands) > self._delay:
            self._commands.popleft()

    def set(self, commands: int) -> None:
        """Delay commands by a number of commands until `restore`, instead of the drawn delay."""
        self._delay = commands

    def send(self, command: DelayedCommand) -> DelayedCommand | None:
        """Take a command, and return the one that arrives now.

        Returns:
            The oldest command on its way if more than the delay are on their way; otherwise None.
        """
        self._commands.append(command)
        return self._commands.popleft() if len(self._commands) > self._delay else None


class StateDropout:
    """Draw which state messages are dropped; at first none."""

    def __init__(self) -> None:
        self._share = 0.0
        self._rng = np.random.default_rng(0)

    def begin(self, share: float, seed: int) -> None:
        """Drop a random share of the states from now on.

        Args:
            share: Mean share of dropped states, from 0 to less than 1.
            seed: Seed of the draws.
        """
        self._share = share
        self._rng = np.random.default_rng(seed)

    def end(self) -> None:
        """Drop no states any more."""
        self._share = 0.0

    def draw(self) -> bool:
        """Draw whether the next state message is dropped; False without dropout."""
        return bool(self._share) and bool(self._rng.random() < self._share)
