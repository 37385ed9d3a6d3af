"""The robot file: the configuration of an arm, one YAML file for each arm in config/robots/."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sql_ros.common.config import Config, option
from sql_ros.common.errors import ConfigError
from sql_ros.robot.controllers import MODES, TYPES, ControllerConfig

TURN_RAD = 2.0 * math.pi
UNLIMITED = 1e4  # position limit of a joint without one [rad]
FASTEST_RAD_S = 50.0  # a larger velocity limit is not one in rad/s
# largest speed of every point of the arm while people are in reach: ISO 10218's reduced speed
REDUCED_SPEED_M_S = 0.25
PER_JOINT = (
    "neutral_position",
    "position_lower",
    "position_upper",
    "velocity_limit",
    "acceleration_limit",
    "effort_limit",
    "servo_stiffness",
    "servo_damping",
)


EMERGENCY_STOP = "emergency_stop"
STOP_LOCK = "stop_lock"
ENABLE = "enable"
STOP_KINDS = (EMERGENCY_STOP, STOP_LOCK, ENABLE)


@dataclass(frozen=True)
class RequiredStop(Config):
    """An entry of `required_stops` in a robot file: a topic that must be heard for the arm to
    move.
    """

    kind: str = option(description="meaning of its Bool", choices=STOP_KINDS)
    deadline_s: float = option(description="longest silence [s]", minimum=0.02, maximum=2.0)
    topic: str = option("", "its topic, std_msgs/Bool; empty: actor/<kind>")


@dataclass(frozen=True)
class BasePose(Config):
    """Where the base of an arm stands in the cell: `base` in a robot file.

    Raises:
        ConfigError: A vector has not three numbers, or an angle is more than a turn.
    """

    xyz: tuple[float, ...] = option((0.0, 0.0, 0.0), "origin of the base in the scene [m]")
    rpy: tuple[float, ...] = option(
        (0.0, 0.0, 0.0),
        "roll, pitch and yaw of the base in the scene, about the scene's fixed x, y and z [rad]",
        minimum=-TURN_RAD,
        maximum=TURN_RAD,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("xyz", "rpy"):
            if len(getattr(self, name)) != 3:
                raise ConfigError(
                    f"'base.{name}' has {len(getattr(self, name))} entries, expected three"
                )

    @property
    def is_origin(self) -> bool:
        """Return whether the base stands at the origin of the scene, upright."""
        return not any((*self.xyz, *self.rpy))


@dataclass(frozen=True)
class RobotConfig(Config):
    """The content of a robot file: an arm with its limits. Values per joint are (N,), in command
    order.

    Raises:
        ConfigError: A value is out of range, entries per joint are missing, or values contradict
            each other.
    """

    name: str = option(description="name of the arm")
    model: str = option(
        description="MJCF or URDF of the arm, relative to the robot file or to the share folder"
    )
    tool: str = option(description="site, body or link whose pose tasks see")
    joints: tuple[str, ...] = option(description="joint names in command order")
    neutral_position: tuple[float, ...] = option(description="rest pose [rad; slides: m]")
    position_lower: tuple[float, ...] = option(description="lower position limits [rad; slides: m]")
    position_upper: tuple[float, ...] = option(description="upper position limits [rad; slides: m]")
    velocity_limit: tuple[float, ...] = option(
        description="largest speed [rad/s; slides: m/s]", minimum=0.001
    )
    acceleration_limit: tuple[float, ...] = option(
        description="largest acceleration [rad/s^2; slides: m/s^2]", minimum=0.001, maximum=200.0
    )
    effort_limit: tuple[float, ...] = option(
        description="largest torque [N m; slides: N]", minimum=0.0
    )
    servo_stiffness: tuple[float, ...] = option(
        description="stiffness of the simulated position servo [N m/rad]", minimum=0.0
    )
    servo_damping: tuple[float, ...] = option(
        description="damping of the simulated position and velocity servo [N m s/rad]", minimum=0.0
    )
    scene: str = option(
        "", "MJCF around the arm where a task names none, as 'model'; empty: the arm alone"
    )
    base: BasePose = option(  # noqa: RUF009
        BasePose(),
        "pose of the base in the scene, xyz [m] and rpy [rad]; gravity is that of the scene",
    )
    fixed_joints: Mapping[str, float] = option(
        {}, "position of joints that are not controlled [rad or m]; others: 0, or nearest to it"
    )
    unconfirmed: tuple[str, ...] = option(
        (),
        "keys whose values are estimates that nobody has confirmed; a real arm does not move before"
        " this list is empty",
    )
    position_margin_rad: float = option(
        0.05, "margin before each position limit [rad; slides: the same number in m]", minimum=0.0
    )
    command_timeout_s: float = option(
        0.2,
        "time without a command after which the arm holds its position [s]",
        minimum=0.0,
        maximum=1.0,
    )
    latency_s: float | None = option(
        None,
        "time from the measurement of a state to the effect of its command, beyond one period [s];"
        " none: as measured, see robot/measured.py",
        minimum=0.0,
        maximum=0.5,
    )
    limit_fraction: float = option(
        0.9,
        "share of the limits of speed, acceleration and tip speed that is used",
        minimum=0.01,
        maximum=1.0,
    )
    tip_speed_limit_m_s: float = option(
        1.5, "largest speed of the tool and of every link [m/s]", minimum=0.001, maximum=10.0
    )
    people_in_reach: bool = option(
        False, "people may be in reach: tool and links are no faster than 0.25 m/s"
    )
    clearance_m: float = option(
        0.02,
        "distance of the arm to itself and to its surroundings [m]",
        minimum=0.001,
        maximum=0.25,
    )
    payload_kg: float = option(
        0.0,
        "largest mass in the hand beyond the model; torque mode allows for any mass up to it [kg]",
        minimum=0.0,
        maximum=50.0,
    )
    payload_center_m: tuple[float, ...] = option(
        (0.0, 0.0, 0.0),
        "centre of mass of payload_kg in the frame of the tool [m]",
        minimum=-1.0,
        maximum=1.0,
    )
    payload_is_compensated: bool = option(
        False, "the arm's own gravity compensation knows payload_kg at this centre"
    )
    guarded_points: tuple[str, ...] = option(
        (), "sites or bodies that workspace and keep_out limit; empty: the tool"
    )
    workspace: tuple[float, ...] = option(
        (),
        "box in which guarded_points stay: x y z of two corners in the base frame [m]; empty: none",
    )
    may_touch: tuple[tuple[str, ...], ...] = option(
        (), "pairs of bodies that are meant to touch: no distance is kept between them"
    )
    always_near: tuple[tuple[str, ...], ...] = option(
        (),
        "pairs of bodies that are never farther apart than clearance_m: no distance is kept between"
        " them",
    )
    tasks_may_exempt: tuple[tuple[str, ...], ...] = option(
        (), "pairs of bodies, one of them the arm's own, that the 'may_touch' of a task may name"
    )
    keep_out: tuple[tuple[float, ...], ...] = option(
        (),
        "boxes that guarded_points stay out of, each x y z of two corners in the base frame [m]",
    )
    controllers: Mapping[str, ControllerConfig] = option(
        {}, "controller of the real arm for each command mode; a mode without one is simulated only"
    )
    accept_effort_without_timeout: bool = option(
        False,
        "accept a torque controller that keeps the last command for ever once no other follows",
    )
    required_stops: tuple[RequiredStop, ...] = option(
        (),
        "real arm: it does not move before each of these was heard, nor while one is silent or has"
        " no publisher",
    )
    state_topic: str = option("joint_states", "topic of the real arm's joint states")
    joint_prefix: str = option(
        "",
        "prefix of joint and frame names on topics, e.g. left_; not in model, scene and policy",
    )
    base_frame: str = option(
        "base",
        "name of the base's frame on topics, which is the world frame of 'model'; without"
        " joint_prefix",
    )
    tool_frame: str = option(
        "", "name of the tool's frame on topics, without joint_prefix; empty: as 'tool'"
    )
    own_clock: bool = option(
        False,
        "the driver stamps states by a clock that is not synchronised with this computer's; a delay"
        " of the states that never changes is then not noticed, see robot/safety/state_delay.py",
    )
    velocity_from_position: bool = option(
        False,
        "the driver measures no velocities: differentiate positions, 8 ms late at 125 Hz or more;"
        " see robot/velocity.py",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in PER_JOINT:
            if len(getattr(self, name)) != len(self.joints):
                raise ConfigError(
                    f"'{name}' has {len(getattr(self, name))} entries, expected one per joint:"
                    f" {len(self.joints)}"
                )
        if len(set(self.joints)) < len(self.joints):
            raise ConfigError(f"'joints' names a joint twice: {', '.join(self.joints)}")
        self._check_limits()
        self._check_names()
        if len(self.payload_center_m) != 3:
            raise ConfigError(
                f"'payload_center_m' has {len(self.payload_center_m)} entries, expected x y z"
            )
        for name in ("may_touch", "always_near", "tasks_may_exempt"):
            if any(len(pair) != 2 for pair in getattr(self, name)):
                raise ConfigError(f"'{name}' is {getattr(self, name)}, expected pairs of bodies")
        self._check_controllers()
        self._check_boxes()

    def _check_controllers(self) -> None:
        """Check that every key of `controllers` is a command mode, and that its controller takes
        that mode.

        Raises:
            ConfigError: A mode is unknown, or its controller takes other modes only.
        """
        for mode, controller in self.controllers.items():
            if mode not in MODES:
                raise ConfigError(
                    f"'controllers' has '{mode}', expected one of: {', '.join(MODES)}"
                )
            controller.check_mode(mode)

    def _check_boxes(self) -> None:
        """Check that every box of `workspace` and `keep_out` has a lower corner, then an upper
        corner.

        Raises:
            ConfigError: A box has not six numbers, or a lower number that is not below the upper
                one.
        """
        boxes = [("keep_out", box) for box in self.keep_out]
        if self.workspace:
            boxes.insert(0, ("workspace", self.workspace))
        for name, box in boxes:
            if len(box) != 6 or any(low >= high for low, high in zip(box[:3], box[3:])):
                raise ConfigError(
                    f"'{name}' has the box {list(box)}, expected x y z of the lower, then of the"
                    " upper corner"
                )

    def _check_names(self) -> None:
        """Check that `joint_prefix` and frame names have no blanks, which separate names in a
        command's label, and no slash at the beginning, which tf2 refuses.

        Raises:
            ConfigError: A name has a blank, or begins with a slash.
        """
        for name in ("joint_prefix", "base_frame", "tool_frame"):
            if any(letter.isspace() for letter in getattr(self, name)):
                raise ConfigError(f"'{name}' is '{getattr(self, name)}', expected no blanks")
            if getattr(self, name).startswith("/"):
                raise ConfigError(
                    f"'{name}' is '{getattr(self, name)}', expected no slash at the beginning,"
                    " which tf2 refuses"
                )

    def check_confirmed(self) -> None:
        """Check that no limit is a mere estimate.

        Raises:
            ConfigError: `unconfirmed` names one.
        """
        if self.unconfirmed:
            raise ConfigError(
                f"robot '{self.name}' has estimates for {', '.join(self.unconfirmed)}, which nobody"
                " has confirmed: look them up, write them into the robot file, and remove them from"
                " 'unconfirmed' there"
            )

    @property
    def speed_limit_m_s(self) -> float:
        """Return the largest speed of the tool and of every link [m/s].

        It is `tip_speed_limit_m_s`, with people in reach at most `REDUCED_SPEED_M_S`.
        """
        return (
            min(self.tip_speed_limit_m_s, REDUCED_SPEED_M_S)
            if self.people_in_reach
            else self.tip_speed_limit_m_s
        )

    @property
    def reckoned_latency_s(self) -> float:
        """Return the latency that the safety filter uses [s]; 0 while `latency_s` is unknown,
        as in simulation.
        """
        return self.latency_s or 0.0

    @property
    def wire_joints(self) -> tuple[str, ...]:
        """Return the joint names on topics, in command order: each is `joint_prefix` plus the
        joint's name.
        """
        return tuple(f"{self.joint_prefix}{joint}" for joint in self.joints)

    @property
    def wire_base_frame(self) -> str:
        """Return the frame of goals and targets on topics: `joint_prefix` plus `base_frame`.

        URDFs call such a prefix `tf_prefix`.
        """
        return f"{self.joint_prefix}{self.base_frame}"

    @property
    def wire_tool_frame(self) -> str:
        """Return the frame of the robot's tool on topics: `joint_prefix` plus `tool_frame`,
        or plus `tool`.
        """
        return f"{self.joint_prefix}{self.tool_frame or self.tool}"

    def interface(self, mode: str) -> str:
        """Return the message adapter for commands of a mode: "forward", "trajectory" or "intera".

        A mode without a controller, which is simulated only, has "forward".
        """
        controller = self.controllers.get(mode)
        return controller.interface if controller else "forward"

    def controller(self, mode: str) -> ControllerConfig:
        """Return the controller of the real arm for a command mode.

        Raises:
            ConfigError: The robot file names none for this mode.
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
        """Check that the robot file accepts how its controller behaves when commands end.

        Only torque controllers that keep the last command for ever have to be accepted, by
        `accept_effort_without_timeout`.

        Args:
            mode: Command mode.

        Raises:
            ConfigError: The robot file does not accept it, or names no controller for the mode.
        """
        controller = self.controller(mode)
        is_accepted = mode != "torque" or self.accept_effort_without_timeout
        if controller.keeps_last_command and not is_accepted:
            raise ConfigError(
                f"'controllers.torque' of type {controller.type}, which keeps the last torque for"
                " ever: an actor that is killed or stopped leaves the arm with it. A second"
                " process then sends zero torques within 0.2 s, which leaves the arm to its own"
                " gravity compensation, but that is no guarantee. Write"
                " 'accept_effort_without_timeout: true' to accept this"
            )

    def warnings(self, mode: str) -> list[str]:
        """Return warnings about the controller of a command mode, for a user who starts a real arm.

        Args:
            mode: Command mode.

        Returns:
            One text or none: position and torque controllers that keep the last command have one.
        """
        controller = self.controllers.get(mode)
        if controller is None or not controller.keeps_last_command or mode == "velocity":
            return []
        name = controller.name
        if mode == "torque":
            return [
                f"{name} keeps the last torque for ever where no command follows. Zero torques are"
                " sent within 0.2 s of the actor's death, and leave the arm to its gravity"
                " compensation"
            ]
        return [
            f"{name} steps to every position at once and stays at the last: prefer a trajectory "
            "controller (joint_trajectory_controller/JointTrajectoryController) in position mode"
        ]

    def _check_limits(self) -> None:
        """Check the position limits, the neutral pose and the unit of the speeds.

        The position limits must be more than twice the margin apart, with the neutral pose between
        the margins. A speed above `FASTEST_RAD_S` looks like degrees per second.

        Raises:
            ConfigError: One of these is wrong.
        """
        margin = self.position_margin_rad
        for joint, low, high, neutral, speed in zip(
            self.joints,
            self.position_lower,
            self.position_upper,
            self.neutral_position,
            self.velocity_limit,
        ):
            least = low + margin
            most = high - margin
            if least >= most:
                raise ConfigError(
                    f"{joint}: 'position_lower' is {low} and 'position_upper' {high}, expected them"
                    f" apart by more than twice the position_margin_rad of {margin} (slides: in m)"
                )
            if not least <= neutral <= most:
                raise ConfigError(
                    f"{joint}: 'neutral_position' is {neutral}, expected {least:.6g} to {most:.6g},"
                    " the position limits less position_margin_rad: radians? (slides: metres)"
                )
            if speed > FASTEST_RAD_S:
                raise ConfigError(
                    f"{joint}: 'velocity_limit' is {speed}, expected at most {FASTEST_RAD_S}:"
                    " radians per second? (slides: metres)"
                )


def _types_for(mode: str) -> list[str]:
    """Return the controller types that take commands of a mode."""
    return [name for name, kind in TYPES.items() if mode in kind.modes]
