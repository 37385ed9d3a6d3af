"""Records of what was measured of a real arm, one for each arm and command mode.

The file of a record is `$XDG_STATE_HOME/sql_ros/measured/<robot>-<hash>-<mode>.yaml`, by default
under `~/.local/state`. The hash covers the robot file, masses, kinematics and limits of its MJCF or
URDF, the command topic, the joint names on topics, and the DDS domain (`ROS_DOMAIN_ID`). So the arm
has to be measured again after a change of any of these, and a second arm with the same robot file
has a record of its own, as has a simulated driver in another domain. A
`latency_s` in the robot file overrides the record.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from sql_ros.common.config import Config, config_from_yaml, option
from sql_ros.common.data_files import find_beside
from sql_ros.common.errors import ConfigError
from sql_ros.robot.config import PER_JOINT, RobotConfig
from sql_ros.robot.controllers import MODES
from sql_ros.robot.estimates import ArmEstimates
from sql_ros.robot.model import load_model
from sql_ros.robot.robot_file import load_robot

# largest usual delay of states that is assumed where only the whole latency is known
MOST_STATE_DELAY_S = 0.05
HASH_LENGTH = 16  # hash digits in a file's name
# fields of the MuJoCo model that the hash covers
HASHED_FIELDS = (
    "body_parentid",
    "body_pos",
    "body_quat",
    "body_mass",
    "body_inertia",
    "body_ipos",
    "body_iquat",
    "jnt_type",
    "jnt_pos",
    "jnt_axis",
    "jnt_range",
    "dof_armature",
    "dof_damping",
    "dof_frictionloss",
)
HASHED_DECIMALS = 9


@dataclass(frozen=True)
class Measurement(Config):
    """The content of a record: what was measured of an arm in one command mode."""

    arm_sha256: str = option(description="hash of the arm at that time, see MeasuredArm")
    command_mode: str = option(description="command mode of the measurement", choices=MODES)
    latency_s: float = option(description="see RobotConfig.latency_s [s]", minimum=0.0, maximum=0.5)
    measured_at: str = option(description="ISO 8601")
    method: str = option(description="how it was measured")
    identified_controller: str = option(
        "", "controller through which every joint was seen to move as commanded; empty: none"
    )
    state_delay_s: float | None = option(
        None,
        "median delay from the stamps of states to their arrival [s]; none: not measured",
        minimum=0.0,
        maximum=1.0,
    )


class MeasuredArm(NamedTuple):
    """The identity of an arm together with the way it is commanded.

    Attributes:
        robot_file: Its robot file.
        mode: Command mode.
        sha256: Hash of robot file, description, command topic, joint names and DDS domain, in
            hexadecimal digits.
    """

    robot_file: Path
    mode: str
    sha256: str


class Latency(NamedTuple):
    """The latency of a real arm.

    Attributes:
        seconds: Time from the measurement of a state to the effect of its command, beyond one
            control period [s]; None where it was not measured.
        source: Path of the robot file or record that has the latency; empty where none has.
        state_delay_s: Time from the stamps of states to their arrival, which is a part of the
            latency [s]; None where it was not measured.
    """

    seconds: float | None
    source: str
    state_delay_s: float | None = None

    @property
    def usual_state_delay_s(self) -> float:
        """Return the usual delay from the stamps of states to their arrival [s].

        Where it was not measured, it is the whole latency, at most `MOST_STATE_DELAY_S`, since most
        of a long latency is that of the servo. It is 0 where nothing was measured.
        """
        if self.state_delay_s is not None:
            return self.state_delay_s
        return min(self.seconds or 0.0, MOST_STATE_DELAY_S)


def state_folder() -> Path | None:
    """Return the folder of files that outlive a run: `$XDG_STATE_HOME/sql_ros` or
    `~/.local/state/sql_ros`.

    Returns:
        None where neither XDG_STATE_HOME nor HOME is set. The folder need not exist.
    """
    state = os.environ.get("XDG_STATE_HOME")
    if state:
        return Path(state) / "sql_ros"
    home = os.environ.get("HOME")
    return Path(home) / ".local/state/sql_ros" if home else None


def measured_folder() -> Path | None:
    """Return the folder of the records, which need not exist; None where `state_folder` is None."""
    folder = state_folder()
    return folder / "measured" if folder else None


def present_domain() -> int:
    """Return the DDS domain of this process, `ROS_DOMAIN_ID`; 0 where it is not set.

    Raises:
        ConfigError: It is not a whole number.
    """
    text = os.environ.get("ROS_DOMAIN_ID") or "0"
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"ROS_DOMAIN_ID is '{text}', expected a whole number") from None


def description_digest(robot_file: Path) -> bytes:
    """Return the hash of a robot file and of masses, kinematics and limits of its MJCF or URDF.

    Args:
        robot_file: The robot file.

    Raises:
        ConfigError: The robot file or its MJCF cannot be read.
    """
    digest = hashlib.sha256(robot_file.read_bytes())
    robot = load_robot(str(robot_file))
    estimates = ArmEstimates(find_beside(robot.model, None), robot.joints)
    stated = (estimates.velocity_limit().values, estimates.effort_limit().values)
    digest.update(repr((stated, [getattr(robot, name) for name in PER_JOINT])).encode())
    model = load_model(robot)
    digest.update(bytes(model.names))
    for name in HASHED_FIELDS:
        # -0.0 becomes 0.0
        digest.update((np.round(getattr(model, name), HASHED_DECIMALS) + 0.0).tobytes())
    return digest.digest()


def measured_arm(
    robot_file: Path,
    mode: str,
    topic: str,
    joints: Sequence[str],
    domain: int,
    description: bytes | None = None,
) -> MeasuredArm:
    """Return the identity of an arm, computed from its files and topics.

    Args:
        robot_file: Its robot file.
        mode: Command mode.
        topic: Resolved topic of its commands.
        joints: Joint names on topics, in command order.
        domain: DDS domain of the arm's driver.
        description: Result of `description_digest`, where that is known already.

    Raises:
        ConfigError: The robot file or its MJCF cannot be read.
    """
    digest = hashlib.sha256(description or description_digest(robot_file))
    digest.update("\0".join((topic, *joints, str(domain))).encode())
    return MeasuredArm(robot_file, mode, digest.hexdigest())


def resolved_topic(name: str, namespace: str) -> str:
    """Return the absolute name of a topic, without remappings.

    Args:
        name: Topic as a node uses it. With a leading "/" it is returned unchanged.
        namespace: Namespace of the node, with or without a leading "/"; empty: the root.
    """
    return (
        name
        if name.startswith("/")
        else "/".join(("", *namespace.strip("/").split("/"), name)).replace("//", "/")
    )


def record_path(arm: MeasuredArm, folder: Path | None = None) -> Path | None:
    """Return the path of the record of an arm. The file need not exist.

    Args:
        arm: Identity of the arm.
        folder: Folder of the records; None: `measured_folder`.

    Returns:
        None where `measured_folder` is needed and is None.
    """
    folder = folder or measured_folder()
    return (
        folder / f"{arm.robot_file.stem}-{arm.sha256[:HASH_LENGTH]}-{arm.mode}.yaml"
        if folder
        else None
    )


def store_measurement(
    arm: MeasuredArm, measurement: Measurement, folder: Path | None = None
) -> Path:
    """Write a record, in place of an older one.

    The folder is created. The record replaces the older one in one step, so a reader never sees a
    part of it.

    Args:
        arm: Identity of the arm when the measurement began.
        measurement: Content of the record.
        folder: Folder of the records; None: `measured_folder`.

    Returns:
        The path of the record.

    Raises:
        ConfigError: There is no folder, the record cannot be written, or the measurement is of
            another arm or command mode.
    """
    path = record_path(arm, folder)
    if path is None:
        raise ConfigError(
            "what is measured of an arm cannot be kept: neither XDG_STATE_HOME nor HOME is set"
        )
    if not _matches(measurement, arm):
        raise ConfigError(
            f"the measurement is of another arm or command mode than {arm.robot_file} in {arm.mode}"
            " mode"
        )
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(yaml.safe_dump(measurement.as_dict(), sort_keys=False))
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error}") from None
    return path


def load_measurement(arm: MeasuredArm) -> Measurement | None:
    """Read the record of an arm from `measured_folder`.

    Args:
        arm: Identity of the arm.

    Returns:
        None where there is no record.

    Raises:
        ConfigError: The record cannot be read, or is that of another arm or mode.
    """
    path = record_path(arm)
    if path is None or not path.is_file():
        return None
    measurement = config_from_yaml(Measurement, path)
    if not _matches(measurement, arm):
        raise ConfigError(
            f"{path} is of another arm or command mode: remove it, and measure the arm again"
        )
    return measurement


def _matches(measurement: Measurement, arm: MeasuredArm) -> bool:
    """Return whether hash and command mode of a measurement are those of an arm."""
    return (measurement.arm_sha256, measurement.command_mode) == (arm.sha256, arm.mode)


def known_latency(robot: RobotConfig, arm: MeasuredArm) -> Latency:
    """Return the latency of a real arm from its robot file; without one there, from its record.

    Args:
        robot: Content of the robot file.
        arm: Identity of the same arm.

    Returns:
        The latency. Its `seconds` are None where neither has one.

    Raises:
        ConfigError: There is a record that cannot be used; see `load_measurement`.
    """
    if robot.latency_s is not None:
        return Latency(robot.latency_s, str(arm.robot_file))
    measurement = load_measurement(arm)
    if measurement is None:
        return Latency(None, "")
    return Latency(measurement.latency_s, str(record_path(arm)), measurement.state_delay_s)


def check_is_measured(
    latency: Latency, robot: RobotConfig, robot_file: Path, mode: str, identify: str
) -> None:
    """Check that the latency of a real arm is known before it moves, or that an identification will
    measure it.

    Args:
        latency: Latency of the arm, as from `known_latency`.
        robot: The arm.
        robot_file: Path of its robot file, for the error message.
        mode: Command mode.
        identify: When the actor identifies the arm: "first" (without a record), "always" or
            "never".

    Raises:
        ConfigError: The latency is not known, and `identify` is "never".
    """
    if latency.seconds is not None or identify != "never":
        return
    raise ConfigError(
        f"'identify' is never, and the latency of robot '{robot.name}' in {mode} mode is not known:"
        f" expected 'latency_s: ...' in {robot_file} (measured: from the stamp of a state to the"
        " motion that its command begins, less one control period), or a record of it in"
        f" {measured_folder()}, which the identification writes (identify:=first)"
    )
