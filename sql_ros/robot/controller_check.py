"""Judge from a controller_manager's list whether commands of a mode reach the arm's joints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sql_ros.robot.controllers import ControllerConfig

INTERFACE = {"position": "position", "velocity": "velocity", "torque": "effort"}  # by mode
FLAG = "--controller-manager"


class Listed(NamedTuple):
    """A controller as `list_controllers` describes it.

    Attributes:
        name: Of the controller.
        type: Plugin type.
        state: "unconfigured", "inactive", "active" or "finalized".
        claimed: Command interfaces it owns, as `<joint>/velocity`; only while active.
        required: Command interfaces it asks for; once configured.
    """

    name: str
    type: str
    state: str
    claimed: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Return the command interfaces that it has or asks for, in the order of its joints."""
        return self.claimed or self.required


@dataclass(frozen=True)
class Wanted:
    """The controller that commands need.

    Attributes:
        controller: Of the robot file, with the name that the command topic has.
        mode: Command mode.
        joints: Names on the wire, in command order.
        manager: Resolved name of the controller_manager.
    """

    controller: ControllerConfig
    mode: str
    joints: tuple[str, ...]
    manager: str

    @property
    def interfaces(self) -> list[str]:
        """Return the command interfaces that it must have, in command order."""
        return [f"{joint}/{INTERFACE[self.mode]}" for joint in self.joints]


@dataclass(frozen=True)
class Verdict:
    """Whether commands may leave.

    Attributes:
        reason: Why not; empty: they may.
        command: To type in a terminal, so that they may; empty if none helps.
        deactivate: Controllers to deactivate as the wanted one is activated.
        can_switch: One call of `switch_controller` is all that is needed.
    """

    reason: str = ""
    command: str = ""
    deactivate: tuple[str, ...] = ()
    can_switch: bool = False

    @property
    def line(self) -> str:
        """Return the reason with the command that ends it."""
        return f"{self.reason}: {self.command}" if self.command else self.reason


def judge(wanted: Wanted, listed: Sequence[Listed]) -> Verdict:
    """Return whether the wanted controller takes commands, and what to do if it does not."""
    name = wanted.controller.name
    found = next((each for each in listed if each.name == name), None)
    if found is None:
        there = ", ".join(f"{each.name} ({each.state})" for each in listed) or "none"
        command = f"ros2 run controller_manager spawner {name}{_flag(wanted)}"
        return Verdict(f"{wanted.manager} has no controller {name} (it has {there})", command)
    if found.type != wanted.controller.type:
        reason = f"controller {name} has type {found.type}, expected {wanted.controller.type}"
        return Verdict(f"{reason}: 'controllers' in the robot file must name what the driver runs")
    if wrong := _wrong_joints(wanted, found):
        return Verdict(wrong)
    if found.state == "active":
        return Verdict()
    return _to_activate(wanted, found, _rivals(wanted, listed))


def _to_activate(wanted: Wanted, found: Listed, rivals: tuple[str, ...]) -> Verdict:
    """Return what activates a controller that is not active."""
    name, reason = found.name, f"controller {found.name} is {found.state}"
    switch = f"ros2 control switch_controllers --activate {name}"
    if rivals:
        switch += f" --deactivate {' '.join(rivals)}"
    switch += _flag(wanted)
    if found.state == "inactive":
        return Verdict(reason, switch, rivals, can_switch=True)
    if found.state == "unconfigured":
        configure = f"ros2 control set_controller_state {name} inactive{_flag(wanted)}"
        return Verdict(reason, f"{configure} && {switch}", rivals)
    return Verdict(f"{reason}: load it again, see the log of {wanted.manager}")


def _wrong_joints(wanted: Wanted, found: Listed) -> str:
    """Return what is wrong with the command interfaces of a controller; empty if nothing is.

    A forward controller takes values by position, so that the order counts. A trajectory has
    joint names. A chained controller's interfaces begin with the name of the next controller.
    """
    kind = INTERFACE[wanted.mode]
    have = ["/".join(each.split("/")[-2:]) for each in found.interfaces]
    have = [each for each in have if each.endswith(f"/{kind}")] if _is_by_name(wanted) else have
    if not found.interfaces:
        unknown = f"controller {found.name} is active and claims no command interface"
        return unknown if found.state == "active" else ""
    if sorted(have) != sorted(wanted.interfaces):
        return f"controller {found.name} commands {', '.join(found.interfaces)}, expected {', '.join(wanted.interfaces)}"
    if have != wanted.interfaces and not _is_by_name(wanted):
        return (
            f"controller {found.name} takes joints in the order {', '.join(have)}, "
            f"expected that of the robot file: {', '.join(wanted.interfaces)}"
        )
    return ""


def _is_by_name(wanted: Wanted) -> bool:
    return wanted.controller.interface == "trajectory"


def _rivals(wanted: Wanted, listed: Sequence[Listed]) -> tuple[str, ...]:
    """Return the other active controllers that command one of the joints."""
    joints = set(wanted.joints)
    return tuple(
        each.name
        for each in listed
        if each.name != wanted.controller.name
        and each.state == "active"
        and joints & {part for claim in each.claimed for part in claim.split("/")}
    )


def _flag(wanted: Wanted) -> str:
    return "" if wanted.manager == "/controller_manager" else f" {FLAG} {wanted.manager}"
