"""The shipped arms as their drivers present them, written here instead of read from robot files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sql_ros.checks.drivers.states import StateHabits

JOINT_COMMAND = "intera_core_msgs/JointCommand"
POLICY = "config/policies/sawyer_stack.onnx"  # relative to the share folder


@dataclass(frozen=True)
class ArmDouble:
    """An arm, and the one controller that takes its commands.

    Attributes:
        name: Name of the double, key of `ARMS`.
        task: Name of a file in config/tasks/; its policies are played.
        mode: Command mode of the task.
        interface: Command interface of the controller: "position", "velocity" or "effort".
        controller: Name of the controller, and of its node.
        controller_type: Plugin of the controller.
        topic: Topic of the controller's commands.
        habits: How the driver publishes joint states, if the case does not say otherwise.
        robot: Keys that replace those of the shipped robot file.
        policy: Shipped policy of the task, relative to the share folder; empty: an untrained
            policy.
        state_topic: Topic of the joint states.
        from_desired: Parameter `interpolate_from_desired_state` of the trajectory controller.
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
    from_desired: bool = False
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
UR5E_DESIRED = replace(UR5E, name="ur5e_desired", from_desired=True)
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
PANDA = ArmDouble(
    name="panda",
    task="panda_reach",
    mode="position",
    interface="position",
    controller="joint_trajectory_controller",
    controller_type="joint_trajectory_controller/JointTrajectoryController",
    topic="joint_trajectory_controller/joint_trajectory",
    habits=StateHabits(rate_hz=100.0),  # update rate of franka_bringup, commit 07c6541
    state_topic="franka/joint_states",
)
ARMS = {
    arm.name: arm
    for arm in (SAWYER_VELOCITY, SAWYER_TORQUE, UR5E, UR5E_DESIRED, SAWYER_INTERA, PANDA)
}
