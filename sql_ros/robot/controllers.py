"""The known types of controllers of a real arm, and the commands that each takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sql_ros.common.config import Config, option
from sql_ros.common.errors import ConfigError

MODES = ("position", "velocity", "torque")  # command modes


class _ControllerType(NamedTuple):
    """A type of controller.

    Attributes:
        interface: Message adapter in `nodes/adapters.py`: "forward", "trajectory" or "intera".
        modes: Command modes that it takes.
        topic: Default topic of its commands, where "{}" stands for the name of the controller.
    """

    interface: str
    modes: tuple[str, ...]
    topic: str


# plugin names of ros2_control; Intera has no controllers and is named by its message type
TYPES = {
    "forward_command_controller/ForwardCommandController": _ControllerType(
        "forward", MODES, "{}/commands"
    ),
    "position_controllers/JointGroupPositionController": _ControllerType(
        "forward", ("position",), "{}/commands"
    ),
    "velocity_controllers/JointGroupVelocityController": _ControllerType(
        "forward", ("velocity",), "{}/commands"
    ),
    "effort_controllers/JointGroupEffortController": _ControllerType(
        "forward", ("torque",), "{}/commands"
    ),
    "joint_trajectory_controller/JointTrajectoryController": _ControllerType(
        "trajectory", ("position",), "{}/joint_trajectory"
    ),
    "ur_controllers/ScaledJointTrajectoryController": _ControllerType(
        "trajectory", ("position",), "{}/joint_trajectory"
    ),
    "intera_core_msgs/JointCommand": _ControllerType(
        "intera", MODES, "/robot/limb/right/joint_command"
    ),
}


@dataclass(frozen=True)
class ControllerConfig(Config):
    """The controller of a real arm for one command mode: an entry of `controllers` in a robot
    file.
    """

    name: str = option(description="name in the controller_manager of the arm")
    type: str = option(description="plugin type in ros2_control", choices=tuple(TYPES))
    topic: str = option("", "where it takes commands; empty: the default of its type")

    @property
    def interface(self) -> str:
        """Return the message adapter for its commands: "forward", "trajectory" or "intera"."""
        return TYPES[self.type].interface

    @property
    def keeps_last_command(self) -> bool:
        """Return whether it executes the last command for ever when no other follows."""
        return self.interface == "forward"

    @property
    def command_topic(self) -> str:
        """Return the topic of its commands: `topic`, or the default of its type.

        A topic without a leading "/" is relative to the namespace of the arm.
        """
        return self.topic or TYPES[self.type].topic.format(self.name)

    def check_mode(self, mode: str) -> None:
        """Check that the controller's type takes commands of a mode.

        Args:
            mode: Command mode.

        Raises:
            ConfigError: The type takes commands of other modes only.
        """
        modes = TYPES[self.type].modes
        if mode not in modes:
            raise ConfigError(
                f"'controllers.{mode}' has type {self.type}, which takes commands of mode"
                f" {', '.join(modes)} only"
            )
