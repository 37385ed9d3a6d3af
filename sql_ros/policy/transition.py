"""One control step, as it is recorded, sent, stored and used for training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

# largest observation, in units of its scale: networks expect about 1, and 1e6 can make them NaN
LARGEST_INPUT = 1e4
# largest reward: no task has a larger one, and Adam would keep the square of its gradient for
# thousands of updates
LARGEST_REWARD = 1e6


@dataclass(frozen=True)
class Transition:
    """One control step: action a_t in state s_t led to reward r_t and state s_{t+1}.

    Attributes:
        observation: Observation of s_t (S,).
        action: Action a_t in [-1, 1], selected by the policy, before safety filtering (A,). For the
            learner the filter is a part of the environment.
        reward: Reward r_t of the step from s_t to s_{t+1}.
        next_observation: Observation of s_{t+1} (S,), also at the end of an episode.
        terminated: Whether the task ended in s_{t+1}. Then the backup leaves out the value of
            s_{t+1}.
        truncated: Whether the episode ended at its time limit. Then the backup has the value of
            s_{t+1}.
    """

    observation: Array
    action: Array
    reward: float
    next_observation: Array
    terminated: bool
    truncated: bool
