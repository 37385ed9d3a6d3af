"""Check, from the controllers that a controller_manager lists, whether commands of a mode
reach the arm's joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sql_ros.robot.controllers import ControllerConfig

# ros2_control command interfaces by command mode
INTERFACES = {"position": "position", "velocity": "velocity", "torque": "effort"}
MANAGER_FLAG = "--controller-manager"


class ListedController(NamedTuple):
    """A controller as the service `list_controllers` describes it.

    Attributes:
        name: Name of the controller.
        type: Plugin type.
        state: "unconfigured", "inactive", "active" or "finalized".
        claimed: Command interfaces that it owns, as `<joint>/velocity`; empty unless it is active.
        required: Command interfaces that it asks for; empty until it is configured.
    """

    name: str
    type: str
    state: str
    claimed: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Return the command interfaces that it owns, or else asks for, in the order of its
        joints.
        """
        return self.claimed or self.required


@dataclass(frozen=True)
class WantedController:
    """The controller that must be active for commands to reach the arm.

    Attributes:
        controller: Controller of the robot file, with the name that the command topic has.
        mode: Command mode.
        joints: Joint names on topics, in command order.
        manager: Resolved name of the controller_manager.
    """

    controller: ControllerConfig
    mode: str
    joints: tuple[str, ...]
    manager: str

    @property
    def interfaces(self) -> list[str]:
        """Return the command interfaces that the controller must have, in command order."""
        return [f"{joint}/{INTERFACES[self.mode]}" for joint in self.joints]


@dataclass(frozen=True)
class Verdict:
    """Result of the check: whether commands may be sent.

    Attributes:
        reason: Why commands may not be sent; empty if they may.
        command: Terminal command after which they may be sent; empty if no command helps or none is
            needed.
        deactivate: Names of controllers to deactivate when the wanted one is activated.
        can_switch: Whether one call of the service `switch_controller` is enough.
    """

    reason: str = ""
    command: str = ""
    deactivate: tuple[str, ...] = ()
    can_switch: bool = False

    @property
    def line(self) -> str:
        """Return the reason, followed by the command that removes it if there is one."""
        return f"{self.reason}: {self.command}" if self.command else self.reason


def judge(wanted: WantedController, listed: Sequence[ListedController]) -> Verdict:
    """Check whether the wanted controller takes commands.

    Args:
        wanted: The controller that commands need.
        listed: All controllers of the controller_manager.

    Returns:
        An empty verdict if it does. Otherwise the reason, the first of these: it is not listed, has
        another type, commands no joints, other joints or another order of them, or is not active. A
        terminal command is given if it is not listed, inactive or unconfigured.
    """
    name = wanted.controller.name
    found = next((each for each in listed if each.name == name), None)
    if found is None:
        names = ", ".join(f"{each.name} ({each.state})" for each in listed) or "none"
        command = f"ros2 run controller_manager spawner {name}{_manager_flag(wanted)}"
        return Verdict(f"{wanted.manager} has no controller {name} (it has {names})", command)
    if found.type != wanted.controller.type:
        reason = f"controller {name} has type {found.type}, expected {wanted.controller.type}"
        return Verdict(f"{reason}: 'controllers' in the robot file must name what the driver runs")
    wrong_joints = _wrong_joints(wanted, found)
    if wrong_joints:
        return Verdict(wrong_joints)
    if found.state == "active":
        return Verdict()
    return _activation(wanted, found, _rivals(wanted, listed))


def _activation(
    wanted: WantedController, found: ListedController, rivals: tuple[str, ...]
) -> Verdict:
    """Return the verdict on a controller that is not active, with the command that activates it.

    Args:
        wanted: The controller that commands need.
        found: The same controller as listed.
        rivals: Names of active controllers of the same joints, which have to be deactivated.

    Returns:
        The reason is its state. If it is inactive, the command activates it and deactivates the
        rivals, and `can_switch` is true. If it is unconfigured, the command also configures it. In
        any other state there is no command.
    """
    name = found.name
    reason = f"controller {name} is {found.state}"
    switch = f"ros2 control switch_controllers --activate {name}"
    if rivals:
        switch += f" --deactivate {' '.join(rivals)}"
    switch += _manager_flag(wanted)
    if found.state == "inactive":
        return Verdict(reason, switch, rivals, can_switch=True)
    if found.state == "unconfigured":
        configure = f"ros2 control set_controller_state {name} inactive{_manager_flag(wanted)}"
        return Verdict(reason, f"{configure} && {switch}", rivals)
    return Verdict(f"{reason}: load it again, see the log of {wanted.manager}")


def _wrong_joints(wanted: WantedController, found: ListedController) -> str:
    """Describe what is wrong with the command interfaces of a controller; empty if nothing is.

    A controller that lists none is wrong only if it is active.

    A forward controller takes values by position, so the order counts. A trajectory has joint
    names, so its order does not count, and other interfaces beside those of the mode are allowed.
    The interfaces of a chained controller begin with the name of the next controller, which is left
    out.

    Args:
        wanted: The controller that commands need.
        found: The same controller as listed.
    """
    kind = INTERFACES[wanted.mode]
    actual = ["/".join(each.split("/")[-2:]) for each in found.interfaces]
    actual = (
        [each for each in actual if each.endswith(f"/{kind}")]
        if _has_joint_names(wanted)
        else actual
    )
    if not found.interfaces:
        unknown = f"controller {found.name} is active and claims no command interface"
        return unknown if found.state == "active" else ""
    if sorted(actual) != sorted(wanted.interfaces):
        return (
            f"controller {found.name} commands {', '.join(found.interfaces)}, expected"
            f" {', '.join(wanted.interfaces)}"
        )
    if actual != wanted.interfaces and not _has_joint_names(wanted):
        return (
            f"controller {found.name} takes joints in the order {', '.join(actual)}, "
            f"expected that of the robot file: {', '.join(wanted.interfaces)}"
        )
    return ""


def _has_joint_names(wanted: WantedController) -> bool:
    """Return whether commands carry joint names, as trajectories do."""
    return wanted.controller.interface == "trajectory"


def _rivals(wanted: WantedController, listed: Sequence[ListedController]) -> tuple[str, ...]:
    """Return the names of other active controllers that own a command interface of one of the
    joints.

    Args:
        wanted: The controller that commands need, which is left out.
        listed: All controllers of the controller_manager.
    """
    joints = set(wanted.joints)
    return tuple(
        each.name
        for each in listed
        if each.name != wanted.controller.name
        and each.state == "active"
        and joints & {part for claim in each.claimed for part in claim.split("/")}
    )


def _manager_flag(wanted: WantedController) -> str:
    """Return the command-line flag that names the controller_manager; empty for the default one."""
    return "" if wanted.manager == "/controller_manager" else f" {MANAGER_FLAG} {wanted.manager}"
