"""What is known of an arm: one YAML file each under config/robots/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sql_ros.core.config import Config, config_from_mapping, option, read_yaml
from sql_ros.core.errors import ConfigError
from sql_ros.robot.controllers import MODES, TYPES, ControllerConfig
from sql_ros.share import find_file

FASTEST_RAD_S = 50.0  # no joint of an arm is as fast
REPLACED = {
    "interface": "the 'type' of each controller decides how it takes commands",
    "command_topic": "it follows from 'name' and 'type' of each controller, unless 'topic' says so",
}  # keys of former robot files, now under `controllers`
PER_JOINT = (
    "neutral_position", "position_lower", "position_upper", "velocity_limit", "acceleration_limit", "effort_limit",
    "servo_stiffness", "servo_damping",
)  # fmt: skip


@dataclass(frozen=True)
class RobotConfig(Config):
    """Joints in command order with their limits; what is per joint is (N,)."""

    name: str = option(description="name of the arm")
    model: str = option(description="MJCF of the arm, relative to the share folder")
    tool: str = option(description="site whose pose tasks see")
    joints: tuple[str, ...] = option(description="joint names in command order")
    neutral_position: tuple[float, ...] = option(description="rest pose [rad]")
    position_lower: tuple[float, ...] = option(description="lower position limits [rad]")
    position_upper: tuple[float, ...] = option(description="upper position limits [rad]")
    velocity_limit: tuple[float, ...] = option(description="largest speed [rad/s]", minimum=0.001)
    acceleration_limit: tuple[float, ...] = option(description="largest acceleration [rad/s^2]", minimum=0.001)
    effort_limit: tuple[float, ...] = option(description="largest torque [N m]", minimum=0.0)
    servo_stiffness: tuple[float, ...] = option(description="simulated position servo [N m/rad]", minimum=0.0)
    servo_damping: tuple[float, ...] = option(description="simulated position and velocity servo [N m s/rad]", minimum=0.0)
    position_margin_rad: float = option(0.05, "kept free before each position limit [rad]", minimum=0.0)
    command_timeout_s: float = option(0.2, "without a command for so long the arm holds its position [s]", minimum=0.0, maximum=1.0)
    latency_s: float = option(0.0, "from the measurement of a state to the effect of its command, beyond one period [s]", minimum=0.0)
    limit_fraction: float = option(0.9, "share of the limits of speed, acceleration and tip speed that is used", minimum=0.01, maximum=1.0)
    tip_speed_limit_m_s: float = option(1.5, "largest speed of the tool [m/s]", minimum=0.001)
    clearance_m: float = option(0.02, "kept free between the arm, itself and what is around it [m]", minimum=0.001)
    guarded_points: tuple[str, ...] = option((), "sites or bodies that the boxes below are about; empty: the tool")
    workspace: tuple[float, ...] = option((), "box that they stay in: x y z of two corners in the base frame [m]; empty: none")
    may_touch: tuple[tuple[str, ...], ...] = option((), "pairs of bodies that are meant to touch: no distance is kept between them")
    keep_out: tuple[tuple[float, ...], ...] = option((), "boxes that they stay out of, each x y z of two corners in the base frame [m]")
    controllers: Mapping[str, ControllerConfig] = option(
        {}, "controller of the real arm for each command mode; a mode without one is simulated only"
    )
    accept_effort_without_timeout: bool = option(False, "torques go to a controller that keeps the last one for ever once none comes")
    state_topic: str = option("joint_states", "where the real arm says its joint states")
    joint_prefix: str = option("", "before every joint and frame name on topics, e.g. left_; not in model, scene and policy")
    base_frame: str = option("base", "name of the MJCF's world frame on topics, without joint_prefix")
    tool_frame: str = option("", "name of the tool's frame on topics, without joint_prefix; empty: as 'tool'")
    velocity_from_position: bool = option(
        False, "the driver measures no velocities: differentiate positions, 8 ms late at 125 Hz or more; see robot/velocity.py"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in PER_JOINT:
            if len(getattr(self, name)) != len(self.joints):
                raise ConfigError(f"'{name}' has {len(getattr(self, name))} entries, expected one per joint: {len(self.joints)}")
        if len(set(self.joints)) < len(self.joints):
            raise ConfigError(f"'joints' names a joint twice: {', '.join(self.joints)}")
        self._check_limits()
        self._check_names()
        for mode, controller in self.controllers.items():
            if mode not in MODES:
                raise ConfigError(f"'controllers' has '{mode}', expected one of: {', '.join(MODES)}")
            controller.check_mode(mode)
        for name, box in [("workspace", self.workspace)] * bool(self.workspace) + [("keep_out", box) for box in self.keep_out]:
            if len(box) != 6 or any(low >= high for low, high in zip(box[:3], box[3:])):
                raise ConfigError(f"'{name}' has the box {list(box)}, expected x y z of the lower, then of the upper corner")

    def _check_names(self) -> None:
        """Check that names on topics have no blanks, which separate the names in a command's label."""
        for name in ("joint_prefix", "base_frame", "tool_frame"):
            if any(letter.isspace() for letter in getattr(self, name)):
                raise ConfigError(f"'{name}' is '{getattr(self, name)}', expected no blanks")

    @property
    def wire_joints(self) -> tuple[str, ...]:
        """Joint names on topics, in command order: with `joint_prefix`."""
        return tuple(f"{self.joint_prefix}{joint}" for joint in self.joints)

    @property
    def wire_base_frame(self) -> str:
        """Frame of goals and targets on topics: with `joint_prefix`, as URDFs' `tf_prefix`."""
        return f"{self.joint_prefix}{self.base_frame}"

    @property
    def wire_tool_frame(self) -> str:
        """Frame of the robot's tool on topics: with `joint_prefix`."""
        return f"{self.joint_prefix}{self.tool_frame or self.tool}"

    def interface(self, mode: str) -> str:
        """Return how commands of this mode are sent: "forward", "trajectory" or "intera"."""
        controller = self.controllers.get(mode)
        return controller.interface if controller else "forward"

    def controller(self, mode: str) -> ControllerConfig:
        """Return the controller of the real arm for a command mode.

        Raises:
            ConfigError: The robot file names none.
        """
        if mode not in self.controllers:
            named = ", ".join(self.controllers) or "none"
            raise ConfigError(
                f"no controller for command mode {mode} (there are: {named}); add "
                f"'{mode}: {{name: ..., type: ...}}' under 'controllers', "
                f"with a type of: {', '.join(_types_for(mode))}"
            )
        return self.controllers[mode]

    def check_timeout(self, mode: str) -> None:
        """Check that the user accepts what a controller does once commands end.

        Raises:
            ConfigError: It would keep the last torque for ever, and the file does not accept that.
        """
        controller = self.controller(mode)
        is_accepted = mode != "torque" or self.accept_effort_without_timeout
        if controller.keeps_last_command and not is_accepted:
            raise ConfigError(
                f"'controllers.torque' of type {controller.type}, which keeps the last torque for ever: "
                "an actor that is killed or stopped leaves the arm with it. A second process then sends "
                "zero torques within 0.2 s, which leaves the arm to its own gravity compensation, but "
                "that is no guarantee. Write 'accept_effort_without_timeout: true' to accept this"
            )

    def warnings(self, mode: str) -> list[str]:
        """Return what somebody who starts a real arm in this mode should know."""
        controller = self.controllers.get(mode)
        if controller is None or not controller.keeps_last_command or mode == "velocity":
            return []
        name = controller.name
        if mode == "torque":
            return [
                f"{name} keeps the last torque for ever where no command follows. Zero torques are "
                "sent within 0.2 s of the actor's death, and leave the arm to its gravity compensation"
            ]
        return [
            f"{name} steps to every position at once and stays at the last: prefer a trajectory "
            "controller (joint_trajectory_controller/JointTrajectoryController) in position mode"
        ]

    def _check_limits(self) -> None:
        """They leave room between them, the neutral pose lies there, and no speed is obviously in degrees."""
        margin = self.position_margin_rad
        for joint, low, high, neutral, speed in zip(
            self.joints, self.position_lower, self.position_upper, self.neutral_position, self.velocity_limit
        ):
            least, most = low + margin, high - margin
            if least >= most:
                raise ConfigError(
                    f"{joint}: 'position_lower' is {low} and 'position_upper' {high}, expected them apart by more than twice "
                    f"the position_margin_rad of {margin}"
                )
            if not least <= neutral <= most:
                raise ConfigError(
                    f"{joint}: 'neutral_position' is {neutral}, expected {least:.6g} to {most:.6g}, the position limits less "
                    f"position_margin_rad: radians?"
                )
            if speed > FASTEST_RAD_S:
                raise ConfigError(f"{joint}: 'velocity_limit' is {speed}, expected at most {FASTEST_RAD_S}: radians per second?")


def _types_for(mode: str) -> list[str]:
    return [name for name, kind in TYPES.items() if mode in kind.modes]


def load_robot(name: str) -> RobotConfig:
    """Reads config/robots/<name>.yaml, or the YAML file at the path given.

    Raises:
        ConfigError: no such file, or its content is wrong.
    """
    path = find_file(name, "config/robots")
    values = read_yaml(path)
    for key, why in REPLACED.items():
        if key in values:
            raise ConfigError(f"{path}: key '{key}' is replaced by 'controllers': {why}")
    return config_from_mapping(RobotConfig, values, str(path))
