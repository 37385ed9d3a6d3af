"""The replay buffer: one preallocated numpy array, whose oldest transitions are overwritten."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sql_ros.common.errors import CheckpointError
from sql_ros.policy.transition import Array, Transition


@dataclass(frozen=True)
class Batch:
    """B transitions drawn with replacement, all float32.

    There is no field for truncation: the value of the next state counts after a time-out, too.
    """

    observation: Array  # in SI units, (B, S)
    action: Array  # in [-1, 1], (B, A)
    reward: Array  # (B,)
    next_observation: Array  # in SI units, (B, S)
    terminated: Array  # 1 where the task ended in the next state, otherwise 0, (B,)


def bytes_per_transition(observation_size: int, action_size: int) -> int:
    """Return the memory of one transition in the replay buffer, 4 (2 S + A + 2) [bytes].

    Args:
        observation_size: Size of the observation, S.
        action_size: Size of the action, A.
    """
    return np.dtype(np.float32).itemsize * (2 * observation_size + action_size + 2)


class ReplayBuffer:
    """Ring buffer of transitions, each 4 (2 S + A + 2) bytes.

    The memory is reserved at construction. The kernel provides it page by page as the buffer fills.

    Attributes:
        capacity: Number of transitions in a full buffer.
        size: Number of transitions in the buffer now.
        added: Number of transitions added since the run began, overwritten ones included.
        next_row: Index of the row that the next transition takes.

    Args:
        capacity: Number of transitions in a full buffer.
        observation_size: Size of the observation, S.
        action_size: Size of the action, A.
    """

    def __init__(self, capacity: int, observation_size: int, action_size: int) -> None:
        self.capacity = capacity
        self.size = 0
        self.added = 0
        self.next_row = 0
        # a transition is one row, so that a draw reads one place in memory
        middle = observation_size + action_size
        end = 2 * observation_size + action_size
        self._columns: dict[str, slice | int] = {
            "observation": slice(0, observation_size),
            "action": slice(observation_size, middle),
            "reward": end,
            "next_observation": slice(middle, end),
            "terminated": end + 1,
        }
        self._table = np.empty((capacity, end + 2), np.float32)
        self._arrays = self._fields(self._table)

    @property
    def nbytes(self) -> int:
        """Return the memory reserved for transitions [bytes]."""
        return self._table.nbytes

    def add(self, transition: Transition) -> None:
        """Append one transition, and overwrite the oldest one if the buffer is full."""
        for name, array in self._arrays.items():
            array[self.next_row] = getattr(transition, name)
        self.next_row = (self.next_row + 1) % self.capacity
        self.added += 1
        self.size = min(self.size + 1, self.capacity)

    def sample(self, batch_size: int, rng: np.random.Generator) -> Batch:
        """Draw transitions uniformly with replacement, from a buffer that is not empty.

        Args:
            batch_size: Number of transitions, B.
            rng: Source of randomness.
        """
        index = rng.integers(self.size, size=batch_size)
        return Batch(**self._fields(np.take(self._table, index, axis=0)))

    def arrays(self) -> dict[str, Array]:
        """Return the transitions in the buffer, for a checkpoint, which also needs `next_row`.

        Returns:
            A view of `size` rows for each field of `Batch`, by the name of the field.
        """
        return {name: array[: self.size] for name, array in self._arrays.items()}

    def _fields(self, rows: Array) -> dict[str, Array]:
        """Return a view of rows (R, 2 S + A + 2) for each field of `Batch`, by its name."""
        return {name: rows[:, columns] for name, columns in self._columns.items()}

    def restore(self, arrays: dict[str, Array], added: int, next_row: int | None = None) -> None:
        """Replace the content by that of a checkpoint; the capacity may be another one.

        Sets `size`, `added` and `next_row`.

        Args:
            arrays: Result of `arrays` when the checkpoint was written.
            added: `added` when the checkpoint was written.
            next_row: `next_row` when the checkpoint was written. None: the capacity never changed,
                and `next_row` follows from `added`.

        Raises:
            CheckpointError: The checkpoint has more transitions than the buffer can take, or its
                arrays have other dimensions. Some fields may then be overwritten already.
        """
        size = len(arrays["reward"])
        row = (added if next_row is None else next_row) % max(size, 1)
        for name, array in self._arrays.items():
            if arrays[name].shape != (size, *array.shape[1:]) or size > self.capacity:
                expected = (f"up to {self.capacity}", *array.shape[1:])
                raise CheckpointError(
                    f"replay '{name}' has shape {arrays[name].shape}, expected {expected}: another"
                    " task?"
                )
            # a buffer with room left begins with the oldest transition, so the rows are rotated;
            # where `row` is 0 they are in this order already
            array[:size] = (
                arrays[name]
                if size == self.capacity or not row
                else np.roll(arrays[name], -row, axis=0)
            )
        self.size, self.added, self.next_row = size, added, row if size == self.capacity else size
