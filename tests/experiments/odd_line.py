"""Environments on a line, each with one fault that appears while a run goes on."""

import os
import signal

import gymnasium
import numpy as np

EVALUATION_SEEDS = 10_000  # and above


class Line(gymnasium.Env):
    """Moves by the action; ten steps; a step that `fault` names goes wrong.

    Attributes:
        made: Steps of all environments of this class in the process.
        opened, closed: How many environments were.
    """

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float64)
    faulty_step = 0
    made = opened = closed = 0

    def __init__(self):
        type(self).opened += 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.is_evaluated = seed is not None and seed >= EVALUATION_SEEDS
        self.place = self.np_random.uniform(-1.0, 1.0, 1)
        self.time = 0
        return self.place.copy(), {}

    def step(self, action):
        type(self).made += 1
        self.time += 1
        self.place = np.clip(self.place + 0.1 * action, -2.0, 2.0)
        result = (self.place.copy(), -float(abs(self.place[0])), False, self.time >= 10, {})
        return self.fault(result) if self.made == self.faulty_step else result

    def fault(self, result):
        raise RuntimeError("lost connection to the robot")

    def close(self):
        type(self).closed += 1


class NanInEvaluation(Line):
    def step(self, action):
        observation, *rest = super().step(action)
        return (observation * np.nan if self.is_evaluated else observation), *rest


class Spike(Line):
    def fault(self, result):
        return (result[0] * 0.0 + 1e20, *result[1:])


class Asked(Line):
    """Its own process is asked to end, by the signal `number`."""

    number = signal.SIGINT

    def fault(self, result):
        os.kill(os.getpid(), self.number)
        return result


class Terminated(Asked):
    number = signal.SIGTERM


class Endless(Line):
    def step(self, action):
        observation, reward, *_ = super().step(action)
        return observation, reward, False, False, {}


class Pictures(Line):
    """Its pictures are none."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode=None):
        super().__init__()
        self.render_mode = render_mode

    def render(self):
        raise RuntimeError("no display\nhere")


KINDS = (Line, NanInEvaluation, Spike, Asked, Terminated, Endless, Pictures)
for kind in KINDS:
    gymnasium.register(f"odd/{kind.__name__}-v0", entry_point=kind)
