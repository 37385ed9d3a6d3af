"""A point in a maze with two passages to the target; the one that looks shorter is a dead end.

It is the point robot of the BAIR post, Fig. 4. Lengths have no unit.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]

WIDTH, HEIGHT = 12.0, 8.0  # of the world: x from 0 to WIDTH, y from -HEIGHT / 2 to HEIGHT / 2
WALLS = np.array(  # rectangles x0, y0, x1, y1
    [
        [3.0, -2.6, 9.0, 1.6],  # between the passages; the upper one is the nearer one
        [7.5, 1.0, 9.0, 4.5],  # closes the upper passage
    ]
)
START, START_STD = np.array([1.0, 0.0]), 0.1
TARGET = np.array([11.0, 0.0])
RADIUS = 0.5  # distance within which the target is reached
SPEED = 0.5  # length of the largest step along each axis
SUBSTEPS = 5  # parts of a step, so that no corner is jumped over
ACTION_COST = 0.05
# the smallest distance to the target in the dead end
UPPER_BEST = float(np.hypot(TARGET[0] - WALLS[1, 0], WALLS[0, 3] - TARGET[1]))


class PointMazeEnv(gymnasium.Env[Vector, Vector]):
    """A point that moves by its action (2,), with its place (2,) scaled to [-1, 1] as observation.

    The reward is -0.1 times the distance to the target, minus `ACTION_COST` |a|^2, plus 1 at the
    target, where the episode terminates. `info` has "distance" to the target, and "is_success":
    whether the target is reached.
    """

    observation_space = gymnasium.spaces.Box(-1.2, 1.2, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Vector, dict[str, Any]]:
        """Put the point near `START`.

        Args:
            seed: Seed of the draw; None: the generator of earlier episodes goes on.
            options: "state": place (2,) of the point instead of the drawn one. None: no options.

        Returns:
            Observation (2,), and info with "distance" to the target and "is_success".
        """
        super().reset(seed=seed)
        drawn = START + self.np_random.normal(0.0, START_STD, 2)
        self.place = np.asarray((options or {}).get("state", drawn), np.float64)
        return self._observe(), self._info()

    def step(self, action: Vector) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Move the point; at a wall it slides along the wall.

        Args:
            action: Action (2,), clipped to [-1, 1]; 1 is a step of `SPEED`.

        Returns:
            Observation (2,): the place, scaled to [-1, 1]; reward, which falls with the distance to
            the target and with |a|^2; terminated: whether the target is reached; truncated: False;
            info with "distance" to the target and "is_success".
        """
        moved = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        for _ in range(SUBSTEPS):
            for axis in range(2):
                tried = self.place.copy()
                tried[axis] += SPEED * moved[axis] / SUBSTEPS
                if is_free(tried):
                    self.place = tried
        info = self._info()
        reward = -0.1 * info["distance"] - ACTION_COST * float(np.square(moved).sum())
        return (
            self._observe(),
            reward + float(info["is_success"]),
            bool(info["is_success"]),
            False,
            info,
        )

    def _observe(self) -> Vector:
        """Return the place (2,), scaled to [-1, 1]."""
        return np.array(
            [self.place[0] / (WIDTH / 2) - 1.0, self.place[1] / (HEIGHT / 2)], np.float32
        )

    def _info(self) -> dict[str, Any]:
        """Return the info of the present place, see the class."""
        distance = float(np.linalg.norm(self.place - TARGET))
        return {"distance": distance, "is_success": distance < RADIUS}


def is_free(place: npt.NDArray[np.float64]) -> bool:
    """Return whether a place (2,) is inside the world and in no wall."""
    x, y = place
    if not (0.0 <= x <= WIDTH and -HEIGHT / 2 <= y <= HEIGHT / 2):
        return False
    inside = (WALLS[:, 0] < x) & (x < WALLS[:, 2]) & (WALLS[:, 1] < y) & (y < WALLS[:, 3])
    return not inside.any()
