"""What Rethink's arms are told and what they say, as plain values: the part of the Intera interface that needs no ROS.

Sources: intera_core_msgs (JointCommand, RobotAssemblyState) and the topics of Intera 5.x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sql_ros.robot.arm import Vector

COMMAND_TIMEOUT_TOPIC = "/robot/limb/right/joint_command_timeout"  # std_msgs/Float64 [s]
ENABLE_TOPIC = "/robot/set_super_enable"  # std_msgs/Bool
STATE_TOPIC = "/robot/state"  # intera_core_msgs/RobotAssemblyState

MODES = {"position": 1, "velocity": 2, "torque": 3}  # JointCommand.mode
FIELDS = {"position": "position", "velocity": "velocity", "torque": "effort"}  # of JointCommand, by mode
ESTOP_PRESSED = 1  # RobotAssemblyState.estop_button: 0 unpressed, 1 pressed, 2 unknown, 3 released but not reset


def command_fields(values: Vector, mode: str, joints: Sequence[str]) -> dict[str, Any]:
    """The fields of a JointCommand beside its header, for a command (N,) in the unit of the mode."""
    return {"mode": MODES[mode], "names": list(joints), FIELDS[mode]: values.tolist()}


@dataclass(frozen=True)
class Condition:
    """What RobotAssemblyState says that matters here."""

    enabled: bool
    stopped: bool
    error: bool
    estop_button: int

    @property
    def estop_pressed(self) -> bool:
        """Somebody pressed the button."""
        return self.estop_button == ESTOP_PRESSED

    @property
    def complaint(self) -> str:
        """Why the robot does not move; empty if it can."""
        if self.estop_pressed:
            return "the robot's emergency stop is pressed"
        if self.error:
            return "the robot reports an error: /robot/set_super_reset clears it"
        if self.stopped:
            return "the robot is stopped: /robot/set_super_reset clears it"
        return "" if self.enabled else "the robot is not enabled: /robot/set_super_enable true enables it"
