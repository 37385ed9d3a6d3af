"""A quadruped on a plane, between walls or in a maze, [SQL17] Fig. 3 (right), 4 and 5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.common.errors import ConfigError
from sql_ros.envs.body_env import BodyEnv, Vector

# z component of the body's z axis: an episode terminates below it, as the robot has flipped over
UPRIGHT = 0.0
# reward per m/s, and at the target. The unit of the paper's reward is not published; with this
# unit the robot walks at the paper's alpha = 0.1
REWARD_SCALE = 2.0
ACTION_COST = 0.05  # cost per mean square of the action
CROUCH = 1.0  # angle of the knees at the start, the middle of their range [rad]
# scale of places [m] and of angular velocities [rad/s] in the observation; that of the velocity of
# the body is 0.4 times as large [m/s]
PLACE_SCALE = 5.0

Wall = tuple[float, float, float, float]


@dataclass(frozen=True)
class Course:
    """A world of the robot, and its reward.

    Attributes:
        pays: What is rewarded: "speed" in any direction, "forward" speed along x, or nearness to
            the "target".
        walls: Rectangles (x0, y0, x1, y1) [m].
        target: Place (x, y) of the target [m].
        width: Standard deviation of the Gaussian reward around the target [m].
    """

    pays: str
    walls: tuple[Wall, ...] = ()
    target: tuple[float, float] = (0.0, 0.0)
    width: float = 2.0


def _hallway(half_width: float) -> tuple[Wall, ...]:
    """Return the two walls of a hallway along x, given half of its width [m]."""
    return (-12.0, half_width, 12.0, half_width + 0.3), (
        -12.0,
        -half_width - 0.3,
        12.0,
        -half_width,
    )


U_WALLS = (  # a corridor out, around the end of a wall, and back
    (-1.5, -1.5, 5.5, -1.2),
    (5.2, -1.2, 5.5, 4.4),
    (-1.5, 4.4, 5.5, 4.7),
    (-1.5, -1.2, -1.2, 4.4),
    (-1.2, 1.4, 3.0, 1.8),
)


def _maze(barrier: float = 1.8, back: float = 2.6) -> tuple[Wall, ...]:
    """Return the walls of a maze with two passages.

    The last wall closes the upper passage, which would be shorter by a centimetre.

    Args:
        barrier: Coordinate x at which the wall that closes the passage begins [m].
        back: Coordinate x of the back of the block between the passages [m].
    """
    return (
        (-1.5, -3.1, 6.5, -2.8),
        (-1.5, 2.7, 6.5, 3.0),
        (-1.8, -3.1, -1.5, 3.0),
        (6.5, -3.1, 6.8, 3.0),
        (1.6, -0.91, back, 0.9),
        (barrier, 0.9, back, 2.7),
    )


COURSES = {
    "open": Course("speed"),
    "wide": Course("forward", _hallway(2.0)),
    "narrow": Course("forward", _hallway(1.0)),
    "u": Course("target", U_WALLS, (0.0, 3.0)),
    "maze": Course("target", _maze(), (5.0, 0.0), 3.0),
    "maze-deep": Course("target", _maze(barrier=2.1), (5.0, 0.0), 3.0),
    "maze-thick": Course("target", _maze(back=3.0), (5.0, 0.0), 3.0),
    "maze-near": Course("target", _maze(), (5.0, 0.0), 2.5),
}
# smallest distance of the robot's middle to the target in the dead end of a maze [m]
UPPER_BEST = {
    name: float(
        np.hypot(course.target[0] - course.walls[-1][0], course.walls[-1][1] - course.target[1])
    )
    for name, course in COURSES.items()
    if name.startswith("maze")
}


class QuadrupedEnv(BodyEnv):
    """A quadruped with eight servos, one control step per 10 physics steps.

    The observation (29,) has the place (x, y), the height, the attitude (quaternion), eight joint
    angles, and the velocities of all these; places and velocities are scaled. The reward is
    `REWARD_SCALE` times what the course pays, minus the cost of the action. The episode terminates
    when the robot has flipped over. `info` has the place "x", "y" and the "distance" to the target
    [m].

    Args:
        course: Name in `COURSES`.
        render_mode: "rgb_array" for pictures; None: no pictures.

    Raises:
        ConfigError: There is no such course.
    """

    def __init__(self, course: str = "open", render_mode: str | None = None) -> None:
        if course not in COURSES:
            raise ConfigError(
                f"quadruped: course is '{course}', expected one of: {', '.join(COURSES)}"
            )
        self._course = COURSES[course]
        super().__init__("quadruped", 10, render_mode, self._course.walls)

    def observe(self) -> Vector:
        """Return the observation (29,): place, height, attitude, joint angles and velocities."""
        place = self.data.qpos[:2] / PLACE_SCALE
        rest = self.data.qpos[2:]
        speeds = self.data.qvel.copy()
        speeds[:3] /= 0.4 * PLACE_SCALE
        speeds[3:] /= PLACE_SCALE
        return np.concatenate([place, rest, speeds]).astype(np.float32)

    def set_start(self) -> None:
        """Put the robot at the origin, crouching, with a heading drawn uniformly.

        The joint angles are drawn within 0.1 rad of 0 (hips) and of `CROUCH` (knees).
        """
        heading = self.np_random.uniform(-np.pi, np.pi)
        self.data.qpos[2] = 0.42
        mujoco.mju_axisAngle2Quat(self.data.qpos[3:7], np.array([0.0, 0.0, 1.0]), heading)
        self.data.qpos[7::2] = self.np_random.uniform(-0.1, 0.1, 4)
        self.data.qpos[8::2] = CROUCH + self.np_random.uniform(-0.1, 0.1, 4)
        self._at = self.data.qpos[:2].copy()

    def outcome(self, action: npt.NDArray[np.float64]) -> tuple[float, bool, dict[str, Any]]:
        """Compute the outcome of a control step.

        Args:
            action: Action (A,), clipped to [-1, 1].

        Returns:
            The reward: `REWARD_SCALE` times what the course pays, minus `ACTION_COST` times the
            mean square of the action. A course pays the speed in the plane [m/s] ("speed"), the
            velocity along x [m/s] ("forward"), or a Gaussian of the distance ("target"). Whether
            the robot has flipped over. Info with the place "x", "y" and the "distance" to the
            target [m].
        """
        at = self.data.qpos[:2].copy()
        velocity, self._at = (at - self._at) / self.dt, at
        distance = float(np.linalg.norm(at - self._course.target))
        if self._course.pays == "speed":
            paid = float(np.linalg.norm(velocity))
        elif self._course.pays == "forward":
            paid = float(velocity[0])
        else:
            paid = float(np.exp(-0.5 * (distance / self._course.width) ** 2))
        flipped = bool(self.data.body("torso").xmat[8] < UPRIGHT)
        info = {"x": float(at[0]), "y": float(at[1]), "distance": distance}
        return REWARD_SCALE * paid - ACTION_COST * float(np.square(action).mean()), flipped, info
