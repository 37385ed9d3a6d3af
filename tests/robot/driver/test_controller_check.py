"""What a controller_manager's list means for commands, as a table."""

import pytest

from sql_ros.robot.controllers import ControllerConfig
from sql_ros.robot.driver.controller_check import ListedController, WantedController, judge

VELOCITY = "velocity_controllers/JointGroupVelocityController"
FORWARD = "forward_command_controller/ForwardCommandController"
TRAJECTORY = "joint_trajectory_controller/JointTrajectoryController"
JOINTS = ("j1", "j2")
SPEED, PLACE = ("j1/velocity", "j2/velocity"), ("j1/position", "j2/position")
STATES = ListedController(
    "joint_state_broadcaster", "joint_state_broadcaster/JointStateBroadcaster", "active"
)
RIVAL = ListedController("jtc", TRAJECTORY, "active", PLACE, PLACE)
SWITCH = "ros2 control switch_controllers --activate fvc"


def _judge(*listed, mode="velocity", kind=VELOCITY, manager="/controller_manager"):
    wanted = WantedController(ControllerConfig("fvc", kind), mode, JOINTS, manager)
    return judge(wanted, [STATES, *listed])


@pytest.mark.parametrize(
    ("kind", "mode", "claimed"),
    [
        (VELOCITY, "velocity", SPEED),
        (FORWARD, "torque", ("j1/effort", "j2/effort")),
        (TRAJECTORY, "position", PLACE[::-1]),
        (TRAJECTORY, "position", (*PLACE, *SPEED)),
        (VELOCITY, "velocity", ("limiter/j1/velocity", "limiter/j2/velocity")),
    ],
    ids=["velocity", "effort", "any order by name", "position and velocity", "chained"],
)
def test_an_active_controller_with_the_joints_lets_commands_leave(kind, mode, claimed):
    assert (
        _judge(
            ListedController("fvc", kind, "active", claimed, claimed), mode=mode, kind=kind
        ).reason
        == ""
    )


@pytest.mark.parametrize(
    ("listed", "reason", "command"),
    [
        (
            [RIVAL],
            (
                "/controller_manager has no controller fvc (it has joint_state_broadcaster"
                " (active), jtc (active))"
            ),
            "ros2 run controller_manager spawner fvc",
        ),
        (
            [ListedController("fvc", VELOCITY, "inactive", (), SPEED)],
            "controller fvc is inactive",
            SWITCH,
        ),
        (
            [ListedController("fvc", VELOCITY, "inactive", (), SPEED), RIVAL],
            "controller fvc is inactive",
            f"{SWITCH} --deactivate jtc",
        ),
        (
            [ListedController("fvc", VELOCITY, "unconfigured"), RIVAL],
            "controller fvc is unconfigured",
            f"ros2 control set_controller_state fvc inactive && {SWITCH} --deactivate jtc",
        ),
        (
            [ListedController("fvc", VELOCITY, "finalized")],
            "controller fvc is finalized: load it again",
            "",
        ),
        (
            [ListedController("fvc", FORWARD, "active", SPEED, SPEED)],
            f"controller fvc has type {FORWARD}, expected {VELOCITY}",
            "",
        ),
        (
            [ListedController("fvc", VELOCITY, "active", SPEED[::-1], SPEED[::-1])],
            "controller fvc takes joints in the order j2/velocity, j1/velocity, expected that",
            "",
        ),
        (
            [ListedController("fvc", VELOCITY, "active", SPEED[:1], SPEED[:1])],
            "controller fvc commands j1/velocity, expected j1/velocity, j2/velocity",
            "",
        ),
        (
            [ListedController("fvc", VELOCITY, "active", PLACE, PLACE)],
            "controller fvc commands j1/position, j2/position, expected j1/velocity, j2/velocity",
            "",
        ),
        (
            [
                ListedController(
                    "fvc", VELOCITY, "inactive", (), ("left_j1/velocity", "left_j2/velocity")
                )
            ],
            "controller fvc commands left_j1/velocity, left_j2/velocity, expected j1/velocity",
            "",
        ),
        (
            [ListedController("fvc", VELOCITY, "active")],
            "controller fvc is active and claims no command interface",
            "",
        ),
    ],
    ids=[
        "not loaded",
        "inactive",
        "another is active",
        "unconfigured",
        "finalized",
        "type",
        "order",
        "a joint less",
        "interface",
        "other joints",
        "nothing claimed",
    ],
)
def test_any_other_controller_holds_and_says_what_helps(listed, reason, command):
    verdict = _judge(*listed)
    assert verdict.reason.startswith(reason)
    assert verdict.command == command
    assert verdict.can_switch == (command.startswith(SWITCH))


def test_a_controller_of_other_joints_is_left_active():
    gripper = ListedController(
        "gripper", VELOCITY, "active", ("finger/velocity",), ("finger/velocity",)
    )
    verdict = _judge(ListedController("fvc", VELOCITY, "inactive", (), SPEED), gripper)
    assert (verdict.command, verdict.deactivate) == (SWITCH, ())


def test_the_command_names_a_manager_in_a_namespace():
    verdict = _judge(
        ListedController("fvc", VELOCITY, "inactive", (), SPEED), manager="/left/controller_manager"
    )
    assert verdict.line.endswith(f": {SWITCH} --controller-manager /left/controller_manager")
