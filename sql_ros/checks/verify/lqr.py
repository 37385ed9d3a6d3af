"""The soft linear-quadratic regulator, a continuous problem whose soft Q, V and policy are known in
closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sql_ros.checks.verify.tabular import CLOSE, SWEEPS, FloatArray


@dataclass(frozen=True)
class SoftLqr:
    """The problem s' = A s + B a + w with E w = 0, r = -s' Q s - a' R a, with unbounded actions.

    In the reward s' is the transpose of s. The problem has S state components and m action
    components.

    Attributes:
        dynamics: A, (S, S).
        control: B, (S, m).
        state_cost: Q, symmetric and positive semidefinite, (S, S).
        action_cost: R, symmetric and positive definite, (m, m).
        noise_covariance: Covariance of w, (S, S); V, Q and policy depend on nothing else of its
            distribution.
        discount: gamma, below 1.
        temperature: alpha, above 0.
    """

    dynamics: FloatArray
    control: FloatArray
    state_cost: FloatArray
    action_cost: FloatArray
    noise_covariance: FloatArray
    discount: float
    temperature: float

    @cached_property
    def cost_to_go(self) -> FloatArray:
        """Return P (S, S) of V = -s' P s + c, the fixed point of the discounted Riccati equation.

        Raises:
            RuntimeError: The iteration does not converge.
        """
        p = self.state_cost
        for _ in range(SWEEPS):
            previous = p
            p = self._riccati(p)
            # false for inf and nan
            if np.abs(p - previous).max() < CLOSE * max(1.0, np.abs(p).max()):
                return p
        raise RuntimeError(
            f"the Riccati equation has not converged after {SWEEPS} sweeps: is sqrt(discount) A"
            " stabilisable by B?"
        )

    def _riccati(self, p: FloatArray) -> FloatArray:
        """Return the right side of the Riccati equation for a cost to go P: (S, S) -> (S, S)."""
        a = self.dynamics
        b = self.control
        gamma = self.discount
        cross = gamma * b.T @ p @ a  # (m, S)
        # P = Q + gamma A'PA - gamma^2 A'PB M^-1 B'PA
        following: FloatArray = (
            self.state_cost
            + gamma * a.T @ p @ a
            - cross.T @ np.linalg.inv(self._curvature(p)) @ cross
        )
        return following

    def _curvature(self, p: FloatArray) -> FloatArray:
        """Return M = R + gamma B'PB, (m, m)."""
        curvature: FloatArray = self.action_cost + self.discount * self.control.T @ p @ self.control
        return curvature

    @cached_property
    def gain(self) -> FloatArray:
        """Return K (m, S): the mean action is -K s."""
        p = self.cost_to_go
        gain: FloatArray = np.linalg.inv(self._curvature(p)) @ (
            self.discount * self.control.T @ p @ self.dynamics
        )
        return gain

    @cached_property
    def policy_covariance(self) -> FloatArray:
        """Return (alpha / 2) M^-1, (m, m), the covariance of the policy in every state."""
        return np.linalg.inv(2 / self.temperature * self._curvature(self.cost_to_go)).astype(
            np.float64
        )

    @cached_property
    def constant(self) -> float:
        """Return c, the soft value of the origin: the discounted reward of entropy less the cost of
        noise.
        """
        curvature = self._curvature(self.cost_to_go)
        entropy = (
            self.temperature
            / 2
            * (
                len(curvature) * math.log(math.pi * self.temperature)
                - np.linalg.slogdet(curvature)[1]
            )
        )
        noise = self.discount * np.trace(self.cost_to_go @ self.noise_covariance)
        return float((entropy - noise) / (1 - self.discount))

    def policy_mean(self, state: FloatArray) -> FloatArray:
        """Return the mean of the Gaussian policy: (B, S) -> (B, m)."""
        return -state @ self.gain.T

    def value(self, state: FloatArray) -> FloatArray:
        """Return V = -s' P s + c: (B, S) -> (B,)."""
        return self.constant - _square(state, self.cost_to_go)

    def reward(self, state: FloatArray, action: FloatArray) -> FloatArray:
        """Return r = -s' Q s - a' R a: (..., S), (..., m) -> (...)."""
        return -_square(state, self.state_cost) - _square(action, self.action_cost)

    def following(self, state: FloatArray, action: FloatArray) -> FloatArray:
        """Return the mean of s': (..., S), (..., m) -> (..., S)."""
        mean: FloatArray = state @ self.dynamics.T + action @ self.control.T
        return mean

    def q(self, state: FloatArray, action: FloatArray) -> FloatArray:
        """Return Q = r + gamma E V(s'): (..., S), (..., m) -> (...)."""
        noise = float(np.trace(self.cost_to_go @ self.noise_covariance))
        q: FloatArray = self.reward(state, action) + self.discount * (
            self.value(self.following(state, action)) - noise
        )
        return q


def _square(x: FloatArray, matrix: FloatArray) -> FloatArray:
    """Return the form x' M x: (..., n) -> (...)."""
    square: FloatArray = np.einsum("...i,ij,...j->...", x, matrix, x)
    return square
