"""Several skills that act together, by the weighted sum of their Q.

This module never imports torch.

[C18] Haarnoja et al. 2018, "Composable Deep Reinforcement Learning for Robotic Manipulation".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sql_ros.common.errors import ConfigError, PolicyError
from sql_ros.policy.runtime import (
    CANDIDATES,
    Policy,
    PolicyInfo,
    QFunction,
    measured_inference_s,
)
from sql_ros.policy.task_spec import TaskSpec

WEIGHT_RATE = 1.0  # largest change of a weight per second [1/s]
MOST_SKILLS = 4
SAME = ("joints", "command_mode", "action_scale", "control_rate_hz", "action")
"""Fields of the interface in which a skill must agree with the actor's task."""


class Blend:
    """Skills composed by the weighted sum of their Q, whose weights can change while they act.

    The candidates of a step are `CANDIDATES` draws and their mean from each skill's sampler, and
    `CANDIDATES` uniform actions. Skills may observe different components of the task's observation.

    Args:
        skills: Two to `MOST_SKILLS` policies of one temperature, each with its own
            interface.
        weights: Weight of each skill's Q, not normalised.
        spec: Interface of the actor's task.

    Attributes:
        spec: As given.
        info: Metadata of the first skill.
        weights: Weights in force (n,). They approach `wanted` by `WEIGHT_RATE`.
        wanted: Weights that were asked for (n,). Replace them by one assignment between two steps.
        chosen: Number of preferred actions since `wanted` was replaced, by their source: each
            skill, and last the uniform draws.

    Raises:
        PolicyError: The skills do not fit together or not to the task.
        ConfigError: The weights cannot be used.
    """

    def __init__(self, skills: Sequence[Policy], weights: Sequence[float], spec: TaskSpec) -> None:
        if not 2 <= len(skills) <= MOST_SKILLS:
            raise PolicyError(f"{len(skills)} skills, expected 2 to {MOST_SKILLS}")
        temperatures = {round(skill.info.temperature, 9) for skill in skills}
        if len(temperatures) > 1:
            raise PolicyError(
                f"skills have temperatures {sorted(temperatures)}, expected one: their Q cannot be"
                " added"
            )
        check_weights(weights, len(skills))
        self.spec = spec
        self._skills = list(skills)
        self._observed = [observed_components(skill.spec, spec) for skill in skills]
        self._q = [QFunction(skill.data) for skill in skills]
        self.info: PolicyInfo = skills[0].info
        self.weights = np.array(weights, np.float32)
        self.wanted = self.weights
        self._taken = self.wanted  # `wanted` of the last step
        self.chosen = np.zeros(len(skills) + 1, np.int64)
        size = spec.action_size
        self._noise = [np.empty((CANDIDATES, skill.noise_size), np.float32) for skill in skills]
        self._actions = np.empty(((len(skills) + 1) * CANDIDATES + len(skills), size), np.float32)
        self._sources = np.repeat(
            np.arange(len(skills) + 1), [CANDIDATES + 1] * len(skills) + [CANDIDATES]
        )

    def sample(
        self, observation: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """Return the preferred action (A,) for an observation (S,), without counting it."""
        actions, q = self._evaluate(observation, rng, self.weights)
        return np.asarray(self._preferred(actions, q)[0], np.float32)

    def ranked(
        self, observation: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """Order the candidates by the weighted sum of Q, and count the source of the first one.

        Args:
            observation: Observation (S,) of the actor's task.
            rng: Generator of the candidates.

        Returns:
            Actions (K, A) in [-1, 1], the preferred one first.
        """
        actions, q = self._evaluate(observation, rng, self._advance_weights())
        return self._ordered(actions, q)

    def tempered(
        self, observation: npt.NDArray[np.float32], rng: np.random.Generator, temperature: float
    ) -> npt.NDArray[np.float32]:
        """Order the candidates as draws in proportion to exp(sum_i w_i Q_i / temperature), and
        count the source of the first one.

        The distribution of the candidates is not corrected for: its density is not exported.

        Args:
            observation: Observation (S,) of the actor's task.
            rng: Generator of the candidates and of the order.
            temperature: Temperature, above 0.

        Returns:
            Actions (K, A) in [-1, 1], in the order of the draws.
        """
        actions, q = self._evaluate(observation, rng, self._advance_weights())
        return self._ordered(actions, q / temperature + rng.gumbel(size=len(q)))

    def inference_s(self) -> float:
        """Measure the processor time of one action [s], see `measured_inference_s`."""
        return measured_inference_s(self.sample, self.spec.observation_size)

    def values(self) -> dict[str, str | int]:
        """Return the weights in force and the share of each source, for /diagnostics."""
        total = max(int(self.chosen.sum()), 1)
        shares = self.chosen / total
        return {
            "weights": ",".join(f"{weight:.3g}" for weight in self.weights),
            **{f"share/skill_{i}": f"{share:.3f}" for i, share in enumerate(shares[:-1])},
            "share/uniform": f"{shares[-1]:.3f}",
        }

    def _advance_weights(self) -> npt.NDArray[np.float32]:
        """Move the weights towards `wanted` by one control period, and return them."""
        wanted = self.wanted  # one read: another thread replaces it
        if wanted is not self._taken:
            self._taken = wanted
            self.chosen = np.zeros_like(self.chosen)
        if wanted is not self.weights:
            most = WEIGHT_RATE / self.spec.control_rate_hz
            self.weights = self.weights + np.clip(wanted - self.weights, -most, most)
        return self.weights

    def _evaluate(
        self,
        observation: npt.NDArray[np.float32],
        rng: np.random.Generator,
        weights: npt.NDArray[np.float32],
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Draw the candidates and evaluate the weighted sum of Q at them.

        Args:
            observation: Observation (S,) of the actor's task.
            rng: Generator of the candidates.
            weights: Weight of each skill's Q (n,).

        Returns:
            Actions (K, A) in the order of `_sources`, and the weighted sum of Q (K,).
        """
        parts = [observation[observed] for observed in self._observed]
        actions = self._actions
        row = 0
        for skill, part, noise in zip(self._skills, parts, self._noise):
            rng.standard_normal(out=noise, dtype=np.float32)
            drawn = skill.draw(part, noise)
            actions[row : row + CANDIDATES] = drawn
            actions[row + CANDIDATES] = drawn.mean(axis=0)
            row += CANDIDATES + 1
        uniform = rng.random(dtype=np.float32, out=actions[row:])
        uniform *= 2.0
        uniform -= 1.0
        q = np.zeros(len(actions))
        for function, part, weight in zip(self._q, parts, weights):
            q += weight * function.evaluate(part, actions)
        return actions, q

    def _ordered(
        self, actions: npt.NDArray[np.float32], score: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float32]:
        """Return actions (K, A) by falling score (K,), and count the source of the first one."""
        ordered = self._preferred(actions, score)
        self.chosen[self._sources[np.argmax(score)]] += 1
        return ordered

    def _preferred(
        self, actions: npt.NDArray[np.float32], score: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float32]:
        """Return actions (K, A) by falling score (K,); NaN where a score is not finite, so that
        the actor holds the arm.
        """
        if not np.isfinite(score).all():
            return np.full_like(actions, np.nan)
        return np.asarray(actions[np.argsort(-score, kind="stable")], np.float32)


def parse_weights(text: str, count: int) -> tuple[float, ...]:
    """Return the weights of skills from a text such as "0.5,0.5".

    Args:
        text: Numbers with commas between them; empty: 1/n for each skill.
        count: Number of skills.

    Raises:
        ConfigError: The text has no such numbers, see `check_weights`.
    """
    if not text:
        return (1.0 / count,) * count
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"'weights' is {text!r:.80}, expected numbers with commas between them, such as 0.5,0.5"
        ) from None
    check_weights(weights, count)
    return weights


def check_weights(weights: Sequence[float], count: int) -> None:
    """Check that there is a weight for each skill, finite, not negative and not all 0.

    Args:
        weights: The weights.
        count: Number of skills.

    Raises:
        ConfigError: The weights cannot be used.
    """
    shown = ",".join(f"{weight:g}" for weight in weights)
    if len(weights) != count:
        raise ConfigError(f"'weights' is {shown}, expected {count} numbers, one for each skill")
    largest = float(np.finfo(np.float32).max)
    if not all(math.isfinite(w) and 0.0 <= w < largest for w in weights) or not any(weights):
        raise ConfigError(
            f"'weights' is {shown}, expected finite numbers from 0 on, not all of them 0"
        )


def observed_components(skill: TaskSpec, task: TaskSpec) -> npt.NDArray[np.intp]:
    """Return the indices of a skill's observation in the observation of the actor's task, by label.

    Args:
        skill: Interface that the skill was trained for.
        task: Interface of the actor's task.

    Raises:
        PolicyError: Arm, action space or rate differ, or the task does not observe what the skill
            does.
    """
    differing = [name for name in SAME if getattr(skill, name) != getattr(task, name)]
    if differing:
        shown = ", ".join(
            f"{name} {getattr(skill, name)!r:.120} instead of {getattr(task, name)!r:.120}"
            for name in differing
        )
        raise PolicyError(
            f"skill of task '{skill.task}' acts otherwise than task '{task.task}': {shown}"
        )
    missing = sorted(set(skill.observation) - set(task.observation))
    if missing:
        raise PolicyError(
            f"skill of task '{skill.task}' observes {', '.join(missing)}, which task"
            f" '{task.task}' does not: give a task that observes all, task:=NAME"
        )
    return np.array([task.observation.index(label) for label in skill.observation])
