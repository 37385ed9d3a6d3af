"""Small continuous problems with exact answers.

Actions are in [-1, 1]^A, and no step leaves the box of states [-1, 1]^S.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sql_ros.checks.verify.lqr import SoftLqr
from sql_ros.checks.verify.tabular import FiniteMdp, FloatArray
from sql_ros.learning.replay import Batch

# draws as many transitions as asked for, with states and actions uniform in their boxes
Draw = Callable[[int, np.random.Generator], Batch]
NOISE = 0.05  # every component of the state noise is uniform in [-NOISE, NOISE]


def regulator_with_one_action() -> SoftLqr:
    """Return a regulator with two states and one action.

    |mean| + 3 standard deviations of the optimal policy stay below 1 in the whole box of states.
    """
    return SoftLqr(
        dynamics=np.array([[0.7, 0.1], [-0.1, 0.6]]),
        control=np.array([[0.1], [0.25]]),
        state_cost=np.array([[1.0, 0.3], [0.3, 1.0]]),
        action_cost=np.array([[0.7]]),
        noise_covariance=np.eye(2) * NOISE**2 / 3,
        discount=0.8,
        temperature=0.05,
    )


def regulator_with_two_actions() -> SoftLqr:
    """Return a regulator with two states and two actions whose optimal noise is correlated.

    |mean| + 3 standard deviations of the optimal policy stay below 1 in the whole box of states.
    """
    return SoftLqr(
        dynamics=np.array([[0.6, 0.1], [-0.1, 0.55]]),
        control=np.array([[0.2, 0.05], [-0.1, 0.2]]),
        state_cost=np.array([[1.0, 0.2], [0.2, 1.0]]),
        action_cost=np.array([[0.8, 0.4], [0.4, 0.7]]),
        noise_covariance=np.eye(2) * NOISE**2 / 3,
        discount=0.8,
        temperature=0.05,
    )


def transitions_of(lqr: SoftLqr) -> Draw:
    """Return a function that draws transitions of the regulator with uniform states and actions.

    Args:
        lqr: The regulator. Its noise is drawn uniformly in [-NOISE, NOISE] whatever its covariance
            says, which must therefore be NOISE^2 / 3 times the identity.
    """
    states, actions = lqr.control.shape

    def draw(count: int, rng: np.random.Generator) -> Batch:
        """Draw transitions; the noise of the state is uniform."""
        state = rng.uniform(-1, 1, (count, states))
        action = rng.uniform(-1, 1, (count, actions))
        following = lqr.following(state, action) + rng.uniform(-NOISE, NOISE, state.shape)
        return _batch(state, action, lqr.reward(state, action), following)

    return draw


@dataclass(frozen=True)
class Fork:
    """A problem with one state and one action component, and a policy with one or two modes.

    In states on the left one action is best. On the right two actions are best, and the value of
    the next states makes one of them better.

    Attributes:
        discount: gamma.
        temperature: alpha.
        ridge: Factor of the loss away from the best actions.
        tilt: Reward of state 1 less that of state 0.
    """

    discount: float = 0.8
    temperature: float = 0.1
    ridge: float = 3.0
    tilt: float = 0.2

    def reward(self, state: FloatArray, action: FloatArray) -> FloatArray:
        """Return r = tilt s - ridge (a^2 - (0.1 + 0.4 s))^2, broadcast over states and actions."""
        reward: FloatArray = self.tilt * state - self.ridge * np.square(
            np.square(action) - 0.1 - 0.4 * state
        )
        return reward

    def following(self, state: FloatArray, action: FloatArray) -> FloatArray:
        """Return 0.8 s + 0.15 a, the mean of the next state, broadcast over states and actions."""
        mean: FloatArray = 0.8 * state + 0.15 * action
        return mean

    def draw(self, count: int, rng: np.random.Generator) -> Batch:
        """Draw transitions with uniform states and actions; none is terminal.

        Args:
            count: Number of transitions, B.
            rng: Random generator.
        """
        state = rng.uniform(-1, 1, (count, 1))
        action = rng.uniform(-1, 1, (count, 1))
        following = self.following(state, action) + rng.uniform(-NOISE, NOISE, state.shape)
        return _batch(state, action, self.reward(state, action)[:, 0], following)

    def on_a_grid(self, states: int, actions: int) -> tuple[FiniteMdp, FloatArray, FloatArray]:
        """Return the same problem with X states, between which values are interpolated, and U
        action cells.

        Args:
            states: Number of states X, at least 2.
            actions: Number of cells U, at least 1.

        Returns:
            The problem, the states (X,) from -1 to 1, and the centres of the cells (U,).
        """
        state = np.linspace(-1, 1, states)
        edge = np.linspace(-1, 1, actions + 1)
        action = (edge[1:] + edge[:-1]) / 2
        node, weight = np.polynomial.legendre.leggauss(6)
        mean = self.following(state[:, None], action)
        transition = np.sum(
            [w / 2 * interpolation(mean + NOISE * x, states) for x, w in zip(node, weight)], axis=0
        )
        return (
            FiniteMdp(
                self.reward(state[:, None], action), transition, self.discount, np.log(2 / actions)
            ),
            state,
            action,
        )


def interpolation(point: FloatArray, count: int) -> FloatArray:
    """Return the weights of linear interpolation on even nodes over [-1, 1].

    Args:
        point: Points (...), each in [-1, 1].
        count: Number of nodes X, at least 2.

    Returns:
        Weights (..., X), which sum to 1 over the nodes.
    """
    place = (point[..., None] + 1) * (count - 1) / 2 - np.arange(count)
    weights: FloatArray = np.maximum(1 - np.abs(place), 0)
    return weights


def _batch(
    state: FloatArray, action: FloatArray, reward: FloatArray, following: FloatArray
) -> Batch:
    """Return transitions that never end as a batch of float32.

    Args:
        state: States (B, S).
        action: Actions (B, A).
        reward: Rewards (B,).
        following: Next states (B, S).
    """
    arrays = {
        "observation": state,
        "action": action,
        "reward": reward,
        "next_observation": following,
        "terminated": np.zeros(len(state)),
    }
    return Batch(**{name: array.astype(np.float32) for name, array in arrays.items()})
