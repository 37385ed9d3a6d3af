"""Rethink's interface over DDS; needs intera_core_msgs, which is not on PyPI (built from its two
messages for the run that is recorded).
"""

import numpy as np
import pytest

pytest.importorskip(
    "intera_core_msgs.msg", reason="intera_core_msgs is not on PyPI", exc_type=ImportError
)

import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from intera_core_msgs.msg import JointCommand, RobotAssemblyState
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64
from std_srvs.srv import Trigger

from sql_ros.common.data_files import share_folder
from sql_ros.nodes.messages import state_to_msg
from sql_ros.nodes.qos import LATCHED, RELIABLE
from sql_ros.robot.driver.intera import COMMAND_TIMEOUT_TOPIC, ENABLE_TOPIC, STATE_TOPIC

pytestmark = pytest.mark.stack


@pytest.fixture
def reach(tmp_path) -> str:
    """Sawyer_reach for an arm with the Intera interface."""
    robot = yaml.safe_load((share_folder() / "config/robots/sawyer.yaml").read_text())
    intera = {"name": "intera", "type": "intera_core_msgs/JointCommand"}
    robot |= {"controllers": {"velocity": intera}}
    (tmp_path / "intera.yaml").write_text(yaml.safe_dump(robot))
    task = yaml.safe_load((share_folder() / "config/tasks/sawyer_reach.yaml").read_text()) | {
        "robot": str(tmp_path / "intera.yaml")
    }
    (tmp_path / "reach.yaml").write_text(yaml.safe_dump(task))
    return str(tmp_path / "reach.yaml")


@pytest.mark.long
@pytest.mark.parametrize("factor", [0.0, 1.0], ids=["lockstep", "paced"])
def test_a_simulated_arm_moves_through_joint_commands(processes, probe, reach, factor):
    states, commands = (
        probe.listen(JointState, "joint_states", RELIABLE),
        probe.listen(JointCommand, "sim_bridge/commands", RELIABLE),
    )
    probe.play_learner()
    processes.node("sim_bridge", task=reach, realtime_factor=factor)
    processes.node(
        "actor",
        {"commands": "sim_bridge/commands"},
        task=reach,
        realtime_factor=factor,
        learner_patience_s=0.0,
    )
    probe.wait(lambda: commands and np.abs(states[-1].velocity).max() > 0.1)
    assert commands[-1].mode == JointCommand.VELOCITY_MODE
    assert len(commands[-1].velocity) == 7
    assert not len(commands[-1].position) + len(commands[-1].effort)


class Robot:
    """An arm played by the test: it stands still, and says of itself what it is told to."""

    def __init__(self, probe, processes, task, reach, **parameters) -> None:
        self.probe, self.task, self.zero = probe, task, np.zeros(7)
        self.states = probe.node.create_publisher(JointState, "joint_states", RELIABLE)
        self.assembly = probe.node.create_publisher(RobotAssemblyState, STATE_TOPIC, RELIABLE)
        self.commands = probe.listen(JointCommand, "commands", RELIABLE)
        self.asked, self.timeouts = (
            probe.listen(Bool, ENABLE_TOPIC, RELIABLE),
            probe.listen(Float64, COMMAND_TIMEOUT_TOPIC, LATCHED),
        )
        self.reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
        probe.play_learner()
        processes.node("actor", task=reach, max_state_age_s=0.3, **parameters)
        probe.wait(self.states.get_subscription_count)

    def until(self, condition, **condition_of_robot) -> None:
        def said():
            stamp = self.probe.node.get_clock().now().nanoseconds
            self.states.publish(
                state_to_msg(stamp, self.task.robot.joints, np.full(7, 0.5), self.zero, self.zero)
            )
            if condition_of_robot:
                self.assembly.publish(RobotAssemblyState(**condition_of_robot))
            return condition()

        self.probe.wait(said, timeout=80)

    def moves(self) -> bool:
        return bool(self.commands) and bool(np.any(np.array(self.commands[-1].velocity) != 0))

    def holds(self) -> bool:
        self.commands.clear()
        self.probe.spin_for(0.12)
        return bool(self.commands) and all(
            np.all(np.array(command.velocity) == 0) for command in self.commands
        )

    def says(self, level: bytes, text: str) -> bool:
        statuses = [s for r in self.reports for s in r.status if s.name == "actor: control"]
        return bool(statuses) and statuses[-1].level == level and text in statuses[-1].message


WELL = {"homed": True, "ready": True, "enabled": True}
DISABLED = {"homed": True}


def test_what_the_robot_says_holds_the_arm_and_its_emergency_stop_latches(
    processes, probe, task, reach
):
    robot = Robot(probe, processes, task, reach)
    robot.until(lambda: robot.holds() and robot.says(DiagnosticStatus.WARN, "never heard"))
    robot.until(
        lambda: robot.holds() and robot.says(DiagnosticStatus.WARN, "not enabled"), **DISABLED
    )
    robot.until(robot.moves, **WELL)
    assert [message.data for message in robot.timeouts] == [task.robot.command_timeout_s]
    robot.until(
        lambda: robot.holds() and robot.says(DiagnosticStatus.WARN, "not homed"),
        **{**WELL, "homed": False},
    )
    robot.until(
        lambda: robot.holds() and robot.says(DiagnosticStatus.WARN, "not ready"),
        **{**WELL, "ready": False},
    )
    robot.until(robot.moves, **WELL)
    robot.until(
        lambda: robot.holds() and robot.says(DiagnosticStatus.WARN, "reports an error"),
        error=True,
        **WELL,
    )
    robot.until(
        lambda: robot.holds() and robot.says(DiagnosticStatus.ERROR, "emergency stop"),
        stopped=True,
        estop_button=1,
    )
    assert not probe.call(Trigger, "actor/reset", Trigger.Request()).success
    robot.until(
        lambda: robot.holds() and robot.says(DiagnosticStatus.ERROR, "holding, stop"), **WELL
    )
    assert probe.call(Trigger, "actor/reset", Trigger.Request()).success
    robot.until(lambda: robot.holds() and robot.says(DiagnosticStatus.WARN, "start_needed"), **WELL)
    assert probe.call(Trigger, "actor/start", Trigger.Request()).success
    robot.until(robot.moves, **WELL)
    robot.until(
        lambda: robot.holds() and robot.says(DiagnosticStatus.WARN, "no word from the robot")
    )  # silent
    assert not robot.asked
    assert not probe.node.get_publishers_info_by_topic(ENABLE_TOPIC)


@pytest.mark.long
def test_a_robot_is_enabled_once_where_that_is_asked_for(processes, probe, task, reach):
    robot = Robot(probe, processes, task, reach, enable_robot=True)
    robot.until(
        lambda: robot.holds() and robot.says(DiagnosticStatus.WARN, "is stopped"),
        stopped=True,
        **DISABLED,
    )
    assert not robot.asked
    robot.until(lambda: robot.asked, **DISABLED)
    robot.until(robot.moves, **WELL)
    robot.until(
        lambda: robot.holds() and robot.says(DiagnosticStatus.WARN, "not enabled"), **DISABLED
    )
    assert [message.data for message in robot.asked] == [True]  # never again by itself


@pytest.mark.long
def test_a_dry_run_neither_enables_nor_commands(processes, probe, task, reach):
    robot = Robot(probe, processes, task, reach, dry_run=True, enable_robot=True)
    would = probe.listen(JointCommand, "actor/dry_run_commands", RELIABLE)
    robot.until(lambda: len(would) > 20, **WELL)
    for topic in (ENABLE_TOPIC, COMMAND_TIMEOUT_TOPIC, "/commands"):
        assert not probe.node.get_publishers_info_by_topic(topic)
