"""What is known of an arm: one YAML file each under config/robots/."""

from __future__ import annotations

from dataclasses import dataclass

from sql_ros.core.config import Config, config_from_yaml, option
from sql_ros.core.errors import ConfigError
from sql_ros.share import find_file


@dataclass(frozen=True)
class RobotConfig(Config):
    """Joints in command order with their limits; every tuple has one entry per joint, (N,)."""

    name: str = option(description="name of the arm")
    model: str = option(description="MJCF of the arm, relative to the share folder")
    tool: str = option(description="site whose pose tasks see")
    joints: tuple[str, ...] = option(description="joint names in command order")
    neutral_position: tuple[float, ...] = option(description="rest pose [rad]")
    position_lower: tuple[float, ...] = option(description="lower position limits [rad]")
    position_upper: tuple[float, ...] = option(description="upper position limits [rad]")
    velocity_limit: tuple[float, ...] = option(description="largest speed [rad/s]", minimum=0.0)
    acceleration_limit: tuple[float, ...] = option(description="largest acceleration [rad/s^2]", minimum=0.0)
    effort_limit: tuple[float, ...] = option(description="largest torque [N m]", minimum=0.0)
    joint_inertia: tuple[float, ...] = option(description="of each joint at the neutral pose, for torque mode [kg m^2]", minimum=0.0)
    servo_stiffness: tuple[float, ...] = option(description="simulated position servo [N m/rad]", minimum=0.0)
    servo_damping: tuple[float, ...] = option(description="simulated position and velocity servo [N m s/rad]", minimum=0.0)
    position_margin_rad: float = option(0.05, "kept free before each position limit [rad]", minimum=0.0)
    command_timeout_s: float = option(0.2, "without a command for so long the arm holds its position [s]", minimum=0.0, maximum=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in vars(self).items():
            if isinstance(value, tuple) and len(value) != len(self.joints):
                raise ConfigError(f"'{name}' has {len(value)} entries, expected one per joint: {len(self.joints)}")


def load_robot(name: str) -> RobotConfig:
    """Reads config/robots/<name>.yaml, or the YAML file at the path given.

    Raises:
        ConfigError: no such file, or its content is wrong.
    """
    return config_from_yaml(RobotConfig, find_file(name, "config/robots"))
