"""The ring of transitions."""

import numpy as np
import pytest

from sql_ros.common.errors import CheckpointError
from sql_ros.learning.replay import ReplayBuffer
from sql_ros.policy.transition import Transition


def _transition(number: int) -> Transition:
    return Transition(
        np.full(3, number),
        np.full(2, 0.5),
        float(number),
        np.full(3, number + 1),
        False,
        number % 2 == 0,
    )


def test_the_oldest_transition_is_overwritten_first():
    replay = ReplayBuffer(4, 3, 2)
    for number in range(6):
        replay.add(_transition(number))
    assert (replay.size, replay.added) == (4, 6)
    assert sorted(replay.arrays()["reward"].tolist()) == [2, 3, 4, 5]


def test_a_batch_keeps_the_parts_of_a_transition_together(rng):
    replay = ReplayBuffer(100, 3, 2)
    for number in range(50):
        replay.add(_transition(number))
    batch = replay.sample(64, rng)
    np.testing.assert_array_equal(batch.observation[:, 0], batch.reward)
    np.testing.assert_array_equal(batch.next_observation[:, 0], batch.reward + 1)
    assert batch.observation.dtype == np.float32


def test_truncation_is_not_stored_as_termination(rng):
    replay = ReplayBuffer(10, 3, 2)
    replay.add(_transition(0))  # truncated
    assert replay.sample(5, rng).terminated.max() == 0.0


def test_a_full_ring_in_a_larger_one_appends_after_its_newest(rng):
    replay, larger = ReplayBuffer(4, 3, 2), ReplayBuffer(8, 3, 2)
    for number in range(6):
        replay.add(_transition(number))
    larger.restore(replay.arrays(), replay.added)
    for number in range(6, 9):
        larger.add(_transition(number))
    assert larger.arrays()["reward"].tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert (larger.size, larger.added) == (7, 9)


def test_a_restored_full_ring_overwrites_the_oldest_next():
    replay, like = ReplayBuffer(4, 3, 2), ReplayBuffer(4, 3, 2)
    for number in range(6):
        replay.add(_transition(number))
    like.restore(replay.arrays(), replay.added)
    for ring in (replay, like):
        ring.add(_transition(6))
    assert replay.arrays()["reward"].tolist() == like.arrays()["reward"].tolist()


def test_a_ring_restored_twice_into_larger_ones_keeps_its_order():
    replay = ReplayBuffer(4, 3, 2)
    for number in range(6):
        replay.add(_transition(number))
    for number in range(6, 9):
        larger = ReplayBuffer(8, 3, 2)
        larger.restore(replay.arrays(), replay.added, replay.next_row)
        larger.add(_transition(number))
        replay = larger
    assert replay.arrays()["reward"].tolist() == [2, 3, 4, 5, 6, 7, 8]
    smaller = ReplayBuffer(7, 3, 2)
    smaller.restore(replay.arrays(), replay.added, replay.next_row)
    for number in (9, 10):
        smaller.add(_transition(number))
    assert smaller.arrays()["reward"].tolist() == [9, 10, 4, 5, 6, 7, 8]


def test_memory_is_four_bytes_per_number():
    assert ReplayBuffer(1000, 20, 7).nbytes == 1000 * 4 * (2 * 20 + 7 + 2)


def test_a_checkpoint_of_another_task_is_refused():
    replay = ReplayBuffer(10, 3, 2)
    replay.add(_transition(0))
    with pytest.raises(CheckpointError, match="another task"):
        ReplayBuffer(10, 4, 2).restore(replay.arrays(), 1)
