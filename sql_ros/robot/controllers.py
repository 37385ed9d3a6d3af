"""Controllers of a real arm: which types are known, and how each takes commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sql_ros.core.config import Config, option
from sql_ros.core.errors import ConfigError

MODES = ("position", "velocity", "torque")  # of a command


class _Kind(NamedTuple):
    """A type of controller.

    Attributes:
        interface: message adapter, see `nodes/adapters.py`: "forward", "trajectory", "intera".
        modes: command modes that it takes.
        topic: default topic of its commands, with the name of the controller in it.
    """

    interface: str
    modes: tuple[str, ...]
    topic: str


TYPES = {
    "forward_command_controller/ForwardCommandController": _Kind("forward", MODES, "{}/commands"),
    "position_controllers/JointGroupPositionController": _Kind("forward", ("position",), "{}/commands"),
    "velocity_controllers/JointGroupVelocityController": _Kind("forward", ("velocity",), "{}/commands"),
    "effort_controllers/JointGroupEffortController": _Kind("forward", ("torque",), "{}/commands"),
    "joint_trajectory_controller/JointTrajectoryController": _Kind("trajectory", ("position",), "{}/joint_trajectory"),
    "ur_controllers/ScaledJointTrajectoryController": _Kind("trajectory", ("position",), "{}/joint_trajectory"),
    "intera_core_msgs/JointCommand": _Kind("intera", MODES, "/robot/limb/right/joint_command"),
}  # plugin names of ros2_control; Intera has no controllers and is named by its message type


@dataclass(frozen=True)
class ControllerConfig(Config):
    """The controller of a real arm for one command mode."""

    name: str = option(description="name in the controller_manager of the arm")
    type: str = option(description="plugin type in ros2_control", choices=tuple(TYPES))
    topic: str = option("", "where it takes commands; empty: the default of its type")

    @property
    def interface(self) -> str:
        """How it takes commands: "forward", "trajectory" or "intera"."""
        return TYPES[self.type].interface

    @property
    def keeps_last_command(self) -> bool:
        """Return whether it goes on with the last command for ever, once none comes any more."""
        return self.interface == "forward"

    @property
    def command_topic(self) -> str:
        """Return the topic of its commands, relative to the namespace of the arm."""
        return self.topic or TYPES[self.type].topic.format(self.name)

    def check_mode(self, mode: str) -> None:
        """Check that the controller takes commands of this mode.

        Raises:
            ConfigError: It takes others only.
        """
        modes = TYPES[self.type].modes
        if mode not in modes:
            raise ConfigError(f"'controllers.{mode}' has type {self.type}, which takes commands of mode {', '.join(modes)} only")
