"""The replay buffer: preallocated numpy arrays, oldest transition overwritten first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sql_ros.common.errors import CheckpointError
from sql_ros.policy.transition import Array, Transition


@dataclass(frozen=True)
class Batch:
    """B transitions drawn with replacement, all float32.

    Truncation is absent on purpose: the value of the next state counts after a time-out.
    """

    observation: Array  # (B, S)
    action: Array  # (B, A)
    reward: Array  # (B,)
    next_observation: Array  # (B, S)
    terminated: Array  # 0 or 1, (B,)


def bytes_per_transition(observation_size: int, action_size: int) -> int:
    """Return the memory of one transition in the replay buffer, 4 (2 S + A + 2) [bytes]."""
    return np.dtype(np.float32).itemsize * (2 * observation_size + action_size + 2)


class ReplayBuffer:
    """Ring buffer of transitions, each 4 (2 S + A + 2) bytes.

    Its memory is reserved at construction, and becomes resident as the buffer fills.

    Attributes:
        capacity: Most transitions.
        size: Transitions in the buffer.
        added: Transitions since the beginning of the run, those that were overwritten included.
        next_row: Index of the row that the next transition takes.

    Args:
        capacity: Most transitions.
        observation_size: S.
        action_size: A.
    """

    def __init__(self, capacity: int, observation_size: int, action_size: int) -> None:
        self.capacity = capacity
        self.size = 0
        self.added = 0
        self.next_row = 0
        # a transition is one row, so that drawing one reads one place in memory
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
        """Memory reserved [bytes]."""
        return self._table.nbytes

    def add(self, transition: Transition) -> None:
        """Append one transition; in a full buffer it overwrites the oldest."""
        for name, array in self._arrays.items():
            array[self.next_row] = getattr(transition, name)
        self.next_row = (self.next_row + 1) % self.capacity
        self.added += 1
        self.size = min(self.size + 1, self.capacity)

    def sample(self, batch_size: int, rng: np.random.Generator) -> Batch:
        """Draw B transitions uniformly with replacement."""
        index = rng.integers(self.size, size=batch_size)
        return Batch(**self._fields(np.take(self._table, index, axis=0)))

    def arrays(self) -> dict[str, Array]:
        """Return the filled rows of every field of a transition (views), for a checkpoint.

        A checkpoint needs `next_row`, too.
        """
        return {name: array[: self.size] for name, array in self._arrays.items()}

    def _fields(self, rows: Array) -> dict[str, Array]:
        """Return a view of rows (R, 2 S + A + 2) for every field of a transition."""
        return {name: rows[:, columns] for name, columns in self._columns.items()}

    def restore(self, arrays: dict[str, Array], added: int, next_row: int | None = None) -> None:
        """Replace the content by that of a checkpoint.

        Args:
            arrays: Result of `arrays` when the checkpoint was written.
            added: Its value then.
            next_row: Its value then; None: derived from `added`, for a capacity that never changed.

        Raises:
            CheckpointError: The checkpoint has more transitions than fit, or other dimensions.
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
            # in a buffer with room left the oldest comes first; it does so already where `row` is 0
            array[:size] = (
                arrays[name]
                if size == self.capacity or not row
                else np.roll(arrays[name], -row, axis=0)
            )
        self.size, self.added, self.next_row = size, added, row if size == self.capacity else size
