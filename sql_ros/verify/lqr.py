"""The soft linear-quadratic regulator: the one continuous problem whose soft Q, V and policy are known in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sql_ros.verify.tabular import CLOSE, SWEEPS, Array


@dataclass(frozen=True)
class SoftLqr:
    """s' = A s + B a + w with E w = 0, r = -s' Q s - a' R a, actions unbounded; S states, m actions.

    Attributes:
        dynamics: A, (S, S).
        control: B, (S, m).
        state_cost: Q >= 0, (S, S).
        action_cost: R > 0, (m, m).
        noise_covariance: of w, (S, S); nothing else of its distribution matters.
        discount: gamma < 1.
        temperature: alpha > 0.
    """

    dynamics: Array
    control: Array
    state_cost: Array
    action_cost: Array
    noise_covariance: Array
    discount: float
    temperature: float

    @cached_property
    def cost_to_go(self) -> Array:
        """P (S, S) of V = -s' P s + c, the fixed point of the discounted Riccati equation."""
        p = self.state_cost
        for _ in range(SWEEPS):
            previous, p = p, self._riccati(p)
            if np.abs(p - previous).max() < CLOSE * max(1.0, np.abs(p).max()):  # false for inf and nan
                return p
        raise RuntimeError(f"the Riccati equation has not converged after {SWEEPS} sweeps: is sqrt(discount) A stabilisable by B?")

    def _riccati(self, p: Array) -> Array:
        a, b, gamma = self.dynamics, self.control, self.discount
        cross = gamma * b.T @ p @ a  # (m, S)
        # P = Q + gamma A'PA - gamma^2 A'PB M^-1 B'PA
        following: Array = self.state_cost + gamma * a.T @ p @ a - cross.T @ np.linalg.inv(self._curvature(p)) @ cross
        return following

    def _curvature(self, p: Array) -> Array:
        """M = R + gamma B'PB, (m, m)."""
        curvature: Array = self.action_cost + self.discount * self.control.T @ p @ self.control
        return curvature

    @cached_property
    def gain(self) -> Array:
        """K (m, S): the mean action is -K s."""
        p = self.cost_to_go
        gain: Array = np.linalg.inv(self._curvature(p)) @ (self.discount * self.control.T @ p @ self.dynamics)
        return gain

    @cached_property
    def policy_covariance(self) -> Array:
        """(alpha / 2) M^-1, (m, m), the same in every state."""
        return np.linalg.inv(2 / self.temperature * self._curvature(self.cost_to_go)).astype(np.float64)

    @cached_property
    def constant(self) -> float:
        """The value c of the origin: what entropy pays less what noise costs."""
        curvature = self._curvature(self.cost_to_go)
        entropy = self.temperature / 2 * (len(curvature) * math.log(math.pi * self.temperature) - np.linalg.slogdet(curvature)[1])
        noise = self.discount * np.trace(self.cost_to_go @ self.noise_covariance)
        return float((entropy - noise) / (1 - self.discount))

    def policy_mean(self, state: Array) -> Array:
        """The mean of the Gaussian policy: (B, S) -> (B, m)."""
        return -state @ self.gain.T

    def value(self, state: Array) -> Array:
        """V = -s' P s + c: (B, S) -> (B,)."""
        return self.constant - _square(state, self.cost_to_go)

    def reward(self, state: Array, action: Array) -> Array:
        """(..., S), (..., m) -> (...)."""
        return -_square(state, self.state_cost) - _square(action, self.action_cost)

    def following(self, state: Array, action: Array) -> Array:
        """The mean of s': (..., S), (..., m) -> (..., S)."""
        mean: Array = state @ self.dynamics.T + action @ self.control.T
        return mean

    def q(self, state: Array, action: Array) -> Array:
        """Q = r + gamma E V(s'): (..., S), (..., m) -> (...)."""
        noise = float(np.trace(self.cost_to_go @ self.noise_covariance))
        q: Array = self.reward(state, action) + self.discount * (self.value(self.following(state, action)) - noise)
        return q


def _square(x: Array, matrix: Array) -> Array:
    """The form x' M x: (..., n) -> (...)."""
    square: Array = np.einsum("...i,ij,...j->...", x, matrix, x)
    return square
