"""The replay buffer: preallocated numpy arrays, oldest transition overwritten first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sql_ros.core.errors import CheckpointError

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Transition:
    """One control step, acme's symbols: in state s_t the action a_t was chosen, which gave r_t and s_{t+1}.

    Attributes:
        observation: of s_t, (S,).
        action: a_t in [-1, 1]^A, as chosen, (A,); the safety filter behind it is a part of what answers.
        reward: r_t, of the step from s_t to s_{t+1}.
        next_observation: of s_{t+1}, (S,); of the last state of the episode where it ends here.
        terminated: the task ended in s_{t+1}: nothing is to be gained after it, the backup stops.
        truncated: the episode was cut for time: s_{t+1} goes on, the backup bootstraps.
    """

    observation: Array
    action: Array
    reward: float
    next_observation: Array
    terminated: bool
    truncated: bool


@dataclass(frozen=True)
class Batch:
    """B transitions drawn with replacement; `terminated` is 0 or 1. Truncation is absent on purpose: time-outs bootstrap."""

    observation: Array  # (B, S)
    action: Array  # (B, A)
    reward: Array  # (B,)
    next_observation: Array  # (B, S)
    terminated: Array  # (B,)


def bytes_per_transition(observation_size: int, action_size: int) -> int:
    """Return the memory of one transition in the replay buffer, 4 (2 S + A + 2) [bytes]."""
    return np.dtype(np.float32).itemsize * (2 * observation_size + action_size + 2)


class ReplayBuffer:
    """Ring of at most `capacity` transitions; 4 (2 S + A + 2) bytes each, resident only once written."""

    def __init__(self, capacity: int, observation_size: int, action_size: int) -> None:
        self.capacity = capacity
        self.size = 0
        self.added = 0  # since the beginning of time, also those overwritten
        self.next_row = 0  # where the next one goes
        # a transition is one row: a random one is then one place in memory to look for
        middle, end = observation_size + action_size, 2 * observation_size + action_size
        self._columns: dict[str, slice | int] = {
            "observation": slice(0, observation_size),
            "action": slice(observation_size, middle),
            "reward": end,
            "next_observation": slice(middle, end),
            "terminated": end + 1,
        }
        self._table = np.empty((capacity, end + 2), np.float32)
        self._arrays = self._parts(self._table)

    @property
    def nbytes(self) -> int:
        """Memory reserved [bytes]."""
        return self._table.nbytes

    def add(self, transition: Transition) -> None:
        """Appends one transition, over the oldest one when full."""
        for name, array in self._arrays.items():
            array[self.next_row] = getattr(transition, name)
        self.next_row = (self.next_row + 1) % self.capacity
        self.added += 1
        self.size = min(self.size + 1, self.capacity)

    def sample(self, batch_size: int, rng: np.random.Generator) -> Batch:
        """Draws B transitions uniformly with replacement."""
        index = rng.integers(self.size, size=batch_size)
        return Batch(**self._parts(np.take(self._table, index, axis=0)))

    def arrays(self) -> dict[str, Array]:
        """The filled part of every array (views), for a checkpoint; `next_row` belongs to it."""
        return {name: array[: self.size] for name, array in self._arrays.items()}

    def _parts(self, rows: Array) -> dict[str, Array]:
        """Views of transitions that are rows."""
        return {name: rows[:, columns] for name, columns in self._columns.items()}

    def restore(self, arrays: dict[str, Array], added: int, next_row: int | None = None) -> None:
        """Takes the content of a checkpoint.

        Args:
            arrays: from `arrays`.
            added: when it was written.
            next_row: when it was written; None: as if the ring had had one capacity all its life.

        Raises:
            CheckpointError: it holds more than fits, or has other dimensions.
        """
        size = len(arrays["reward"])
        row = (added if next_row is None else next_row) % max(size, 1)
        for name, array in self._arrays.items():
            if arrays[name].shape != (size, *array.shape[1:]) or size > self.capacity:
                expected = (f"up to {self.capacity}", *array.shape[1:])
                raise CheckpointError(f"replay '{name}' has shape {arrays[name].shape}, expected {expected}: another task?")
            # where more fits, the oldest comes first; what was filled from row 0 on is so already
            array[:size] = arrays[name] if size == self.capacity or not row else np.roll(arrays[name], -row, axis=0)
        self.size, self.added, self.next_row = size, added, row if size == self.capacity else size
