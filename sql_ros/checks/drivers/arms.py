"""The shipped arms as their drivers present them, known here and not read from robot files."""

from __future__ import annotations

from dataclasses import dataclass, field

from sql_ros.checks.drivers.states import StateHabits

JOINT_COMMAND = "intera_core_msgs/JointCommand"
POLICY = "config/policies/sawyer_stack.onnx"  # relative to the share folder


@dataclass(frozen=True)
class ArmDouble:
    """An arm and the one controller that takes its commands.

    Attributes:
        name: of the double.
        task: name of a file in config/tasks/, of which policies are tried.
        mode: command mode of the task.
        interface: command interface of the controller: position, velocity or effort.
        controller: name of the controller, and of its node.
        controller_type: its plugin.
        topic: of the controller's commands.
        habits: of the driver's state publisher.
        robot: keys that the arm's robot file needs beside the shipped ones.
        policy: shipped policy of the task, relative to the share folder; empty: an untrained one.
        state_topic: of the joint states.
        needs: Python module without which the arm cannot be played; empty: none.
    """

    name: str
    task: str
    mode: str
    interface: str
    controller: str
    controller_type: str
    topic: str
    habits: StateHabits
    robot: dict[str, object] = field(default_factory=dict)
    policy: str = ""
    state_topic: str = "joint_states"
    needs: str = ""


SAWYER_VELOCITY = ArmDouble(
    name="sawyer_velocity",
    task="sawyer_reach",
    mode="velocity",
    interface="velocity",
    controller="forward_velocity_controller",
    controller_type="velocity_controllers/JointGroupVelocityController",
    topic="forward_velocity_controller/commands",
    habits=StateHabits(rate_hz=100.0),  # Intera reports its joints at 100 Hz
)
SAWYER_TORQUE = ArmDouble(
    name="sawyer_torque",
    task="sawyer_stack",
    mode="torque",
    interface="effort",
    controller="forward_effort_controller",
    controller_type="effort_controllers/JointGroupEffortController",
    topic="forward_effort_controller/commands",
    habits=StateHabits(rate_hz=500.0),
    robot={"accept_effort_without_timeout": True},
    policy=POLICY,
)
UR5E = ArmDouble(
    name="ur5e",
    task="ur5e_reach",
    mode="position",
    interface="position",
    controller="scaled_joint_trajectory_controller",
    controller_type="ur_controllers/ScaledJointTrajectoryController",
    topic="scaled_joint_trajectory_controller/joint_trajectory",
    habits=StateHabits(rate_hz=500.0, order="sorted"),  # e-Series: 500 Hz
)
SAWYER_INTERA = ArmDouble(
    name="sawyer_intera",
    task="sawyer_reach",
    mode="velocity",
    interface="velocity",
    controller="intera",
    controller_type=JOINT_COMMAND,
    topic="/robot/limb/right/joint_command",
    habits=StateHabits(rate_hz=100.0, gripper="inside"),  # its head is among the joints
    robot={
        "controllers": {"velocity": {"name": "intera", "type": JOINT_COMMAND}},
        "state_topic": "/robot/joint_states",
    },
    state_topic="/robot/joint_states",
    needs="intera_core_msgs.msg",
)
ARMS = {arm.name: arm for arm in (SAWYER_VELOCITY, SAWYER_TORQUE, UR5E, SAWYER_INTERA)}
