"""The action space `twist`: an action is the velocity of the tool, instead of one number per joint.

`robot/control/twist.py` turns such an action into joint velocities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np

from sql_ros.common.config import Config, option
from sql_ros.common.errors import ConfigError
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.model import load_model

# components of a twist: linear velocity, then angular velocity about the axes of its frame
DIMENSIONS = ("linear_x", "linear_y", "linear_z", "angular_x", "angular_y", "angular_z")
WRIST_JOINTS = 3  # number of joints at the end of an arm that mainly turn the tool


@dataclass(frozen=True, kw_only=True)
class TwistConfig(Config):
    """The keys under `twist` of a task file.

    Raises:
        ConfigError: A value is out of range, or every dimension is frozen.
    """

    frame: str = option(
        "base",
        "frame of the axes: the arm's base, or the tool as it is now",
        choices=("base", "tool"),
    )
    linear_m_s: float = option(
        description="speed at action 1 along each axis [m/s]", minimum=1e-3, maximum=10.0
    )
    angular_rad_s: float = option(
        description="speed at action 1 about each axis [rad/s]", minimum=1e-3, maximum=20.0
    )
    frozen: tuple[str, ...] = option(
        (), "dimensions in which the tool is not to move; an action lacks them", choices=DIMENSIONS
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.free:
            raise ConfigError("'frozen' has all six dimensions, expected five at most")

    @property
    def free(self) -> tuple[int, ...]:
        """Return the indices in `DIMENSIONS` of the components of an action (A,)."""
        return tuple(i for i, name in enumerate(DIMENSIONS) if name not in self.frozen)

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the label of each component of an action (A,), such as "base/linear_x"."""
        return tuple(f"{self.frame}/{DIMENSIONS[i]}" for i in self.free)

    @property
    def scale(self) -> tuple[float, ...]:
        """Return the velocity at action 1 of each component (A,) [m/s] or [rad/s]."""
        return tuple(self.linear_m_s if i < 3 else self.angular_rad_s for i in self.free)


def check_twist(config: TwistConfig, robot: RobotConfig) -> None:
    """Check that no action asks for more than the speed limit of tool and links.

    An action turns the tool about itself, so that the wrist moves on a circle around it.

    Args:
        config: The action space.
        robot: The arm, with the tool and the tip speed of the task.

    Raises:
        ConfigError: The tool or the wrist would be faster than the limit, with all components at 1.
    """
    limit = robot.limit_fraction * robot.tip_speed_limit_m_s
    linear = sum(i < 3 for i in config.free)
    speed = config.linear_m_s * math.sqrt(linear)
    if speed > limit:
        raise ConfigError(
            f"'twist.linear_m_s' is {config.linear_m_s:g}: with {linear} components at action 1"
            f" the tool is to move at {speed:.3g} m/s, expected at most {limit:.3g} m/s"
            f" (limit_fraction {robot.limit_fraction:g} of the speed limit of tool and links,"
            f" {robot.tip_speed_limit_m_s:g} m/s)"
        )
    angular = len(config.free) - linear
    radius = _tool_to_wrist(robot)
    speed = config.angular_rad_s * math.sqrt(angular) * radius
    if speed > limit:
        raise ConfigError(
            f"'twist.angular_rad_s' is {config.angular_rad_s:g}: with {angular} components at"
            f" action 1 the wrist, {radius:.3g} m from the tool, is to move at {speed:.3g} m/s,"
            f" expected at most {limit:.3g} m/s (limit_fraction {robot.limit_fraction:g} of the"
            f" speed limit of tool and links, {robot.tip_speed_limit_m_s:g} m/s)"
        )


def _tool_to_wrist(robot: RobotConfig) -> float:
    """Return the distance from the tool to the farthest of the wrist's joints, in the neutral pose
    [m].
    """
    model = load_model(robot)
    data = mujoco.MjData(model)
    for name, position in zip(robot.joints, robot.neutral_position):
        data.joint(name).qpos = position
    mujoco.mj_kinematics(model, data)
    joints = [model.joint(name).id for name in robot.joints[-WRIST_JOINTS:]]
    away = data.xanchor[joints] - data.site(robot.tool).xpos
    return float(np.linalg.norm(away, axis=1).max())
