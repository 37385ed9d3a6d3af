"""Commands and states of Rethink's arms as plain values: the part of the Intera interface that
needs no ROS.

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

MODES = {"position": 1, "velocity": 2, "torque": 3}  # JointCommand.mode by command mode
# field of JointCommand by command mode
FIELDS = {"position": "position", "velocity": "velocity", "torque": "effort"}
# RobotAssemblyState.estop_button: 0 unpressed, 1 pressed, 2 unknown, 3 released but not reset
ESTOP_PRESSED = 1

ENABLE_HINT = (
    f"ros2 topic pub --once {ENABLE_TOPIC} std_msgs/msg/Bool '{{data: true}}' enables it, and"
    " enable_robot.py -e of intera_sdk"
)


def command_fields(values: Vector, mode: str, joints: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a JointCommand message except its header, by name.

    Args:
        values: Command in the unit of the mode (N,).
        mode: Command mode.
        joints: Joint names in command order.
    """
    return {"mode": MODES[mode], "names": list(joints), FIELDS[mode]: values.tolist()}


@dataclass(frozen=True)
class AssemblyState:
    """The fields of a RobotAssemblyState message that are used here.

    Attributes:
        homed: Whether the joints know their positions.
        ready: Whether the robot is enabled and not homing.
        enabled: Whether the motors have power.
        stopped: Whether the robot was stopped.
        error: Whether the robot reports an error.
        estop_button: State of the emergency stop button: 0 unpressed, 1 pressed, 2 unknown, 3
            released but not reset.
    """

    homed: bool
    ready: bool  # enabled, and not homing
    enabled: bool
    stopped: bool
    error: bool
    estop_button: int

    @property
    def estop_pressed(self) -> bool:
        """Return whether the emergency stop button is pressed."""
        return self.estop_button == ESTOP_PRESSED

    @property
    def can_be_enabled(self) -> bool:
        """Return whether the robot is not enabled, and may be: it is not stopped, in error or
        in emergency stop.
        """
        return not (self.enabled or self.stopped or self.error or self.estop_pressed)

    @property
    def complaint(self) -> str:
        """Describe the gravest reason why the robot does not move; empty if it can move.

        In this order: emergency stop, error, stopped, not enabled, not homed, not ready.
        """
        if self.estop_pressed:
            return "the robot's emergency stop is pressed"
        if self.error:
            return "the robot reports an error: /robot/set_super_reset clears it"
        if self.stopped:
            return "the robot is stopped: /robot/set_super_reset clears it"
        if not self.enabled:
            return f"the robot is not enabled: {ENABLE_HINT}"
        if not self.homed:
            return (
                "the robot's joints are not homed: home_joints.py of intera_sdk homes them, and"
                " moves them"
            )
        return (
            ""
            if self.ready
            else (
                "the robot is not ready to operate, as while it is homing: wait for ready in"
                " /robot/state"
            )
        )
