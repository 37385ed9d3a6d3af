"""The protocol of perturbation trials: kinds and their sizes, from a file of config/trials/."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sql_ros.common.config import Config, config_from_yaml, option
from sql_ros.common.data_files import find_file
from sql_ros.common.errors import ConfigError
from sql_ros.robot.model import HELD, load_model
from sql_ros.robot.task import Task
from sql_ros.trials.disturbance import LARGEST

# kinds that are possible by hand on a real arm
BY_HAND = ("undisturbed", "push", "displaced", "payload")
# shares of an episode between which pushes and moves of the target begin
EARLIEST = 0.08
LATEST = 0.48


@dataclass(frozen=True, kw_only=True)
class ProtocolConfig(Config):
    """A protocol, with the keys of a config/trials/*.yaml.

    The sizes of each kind are listed in rising order. A kind without sizes is not tried.
    """

    repeats: int = option(10, "trials per kind and size", minimum=1)
    undisturbed: tuple[float, ...] = option(
        (0.0,), "nothing is done to the arm; the size has no meaning", minimum=0.0
    )
    push_n: tuple[float, ...] = option((), "force of a push [N]", minimum=0.0, maximum=LARGEST)
    displaced_rad: tuple[float, ...] = option(
        (), "start pose: largest distance of a joint from neutral [rad]", minimum=0.0
    )
    payload_kg: tuple[float, ...] = option(
        (), "mass in the hand, unknown to gravity compensation [kg]", minimum=0.0, maximum=LARGEST
    )
    friction_factor: tuple[float, ...] = option(
        (), "factor of contact friction, or 1 / this", minimum=1.0, maximum=LARGEST
    )
    damping_factor: tuple[float, ...] = option(
        (), "factor of joint damping, or 1 / this", minimum=1.0, maximum=LARGEST
    )
    delay_steps: tuple[float, ...] = option(
        (), "delay of commands [control steps]", minimum=0.0, maximum=20.0
    )
    lost_share: tuple[float, ...] = option(
        (), "share of state messages that are lost", minimum=0.0, maximum=0.95
    )
    moved_m: tuple[float, ...] = option(
        (), "distance by which the target moves sideways [m]", minimum=0.0, maximum=LARGEST
    )
    push_s: float = option(0.3, "time of a push at full force [s]", minimum=0.0)
    push_ramp_s: float = option(0.1, "time in which a push decreases to no force [s]", minimum=0.0)
    push_bodies: tuple[str, ...] = option(
        (),
        "bodies that are pushed, one per trial; none: a middle link, one near the end, the hand",
    )
    at_s: tuple[float, ...] = option(
        (),
        "earliest and latest time of a push or move in the episode [s]; none: 8 % and 48 % of it",
        minimum=0.0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.at_s and (len(self.at_s) != 2 or self.at_s[0] > self.at_s[1]):
            raise ConfigError(f"'at_s' is {self.at_s}, expected two times, the earlier first")
        for kind, sizes in self.sizes().items():
            if list(sizes) != sorted(sizes):
                raise ConfigError(f"'{KEYS[kind]}' is {sizes}, expected growing sizes")

    def sizes(self) -> dict[str, tuple[float, ...]]:
        """Return kind (a key of `UNITS`) to sizes, of all kinds that have sizes."""
        return {kind: getattr(self, key) for kind, key in KEYS.items() if getattr(self, key)}


KEYS = {
    "undisturbed": "undisturbed",
    "push": "push_n",
    "displaced": "displaced_rad",
    "payload": "payload_kg",
    "friction": "friction_factor",
    "damping": "damping_factor",
    "delay": "delay_steps",
    "lost_states": "lost_share",
    "moved_target": "moved_m",
}
UNITS = {
    "undisturbed": "",
    "push": "N",
    "displaced": "rad",
    "payload": "kg",
    "friction": "x",
    "damping": "x",
    "delay": "steps",
    "lost_states": "of all",
    "moved_target": "m",
}


def load_protocol(name: str, task: Task, repeats: int = 0) -> ProtocolConfig:
    """Read a protocol and fit it to a task.

    Args:
        name: Name of a file in config/trials/, or the path of a YAML file.
        task: Task that is tried.
        repeats: Number of trials per kind and size; 0: that of the file.

    Returns:
        The protocol, with its bodies and times filled in, see `fitted`.

    Raises:
        ConfigError: There is no such file, its content is wrong, or it does not fit the task's arm.
    """
    path = find_file(name, "config/trials")
    config = config_from_yaml(ProtocolConfig, path)
    try:
        return fitted(replace(config, repeats=repeats) if repeats else config, task)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def fitted(config: ProtocolConfig, task: Task) -> ProtocolConfig:
    """Return a protocol with `push_bodies` and `at_s` filled in, where they are empty.

    Args:
        config: The protocol.
        task: Task that is tried.

    Raises:
        ConfigError: A body is missing in the scene or cannot move, or a disturbance would last
            longer than the episode.
    """
    return replace(config, push_bodies=_bodies(config, task), at_s=_times(config, task))


def _bodies(config: ProtocolConfig, task: Task) -> tuple[str, ...]:
    """Return the names of the bodies that are pushed.

    By default they are a link in the middle of the arm, the last but one, and the hand (not an
    object in the hand).

    Args:
        config: The protocol.
        task: Task that is tried.

    Raises:
        ConfigError: A body of the protocol is missing in the scene, or cannot move.
    """
    model = load_model(task.robot, task.config.scene)
    movable = [
        model.body(i).name for i in range(model.nbody) if model.body_dofnum[model.body_weldid[i]]
    ]
    for name in config.push_bodies:
        if name not in movable:
            raise ConfigError(
                f"'push_bodies' names '{name}', but what can be pushed in {task.config.scene} is:"
                f" {', '.join(movable)}"
            )
    return config.push_bodies or default_bodies(task)


def default_bodies(task: Task) -> tuple[str, ...]:
    """Return the names of a link in the middle of the arm, of the last but one, and of the hand.

    The hand is a body of the arm, not an object in the hand. A body is named once.

    Raises:
        ConfigError: The scene cannot be read.
    """
    model = load_model(task.robot, task.config.scene)
    joints = task.robot.joints
    hand = int(model.site(task.robot.tool).bodyid[0])
    while model.body(hand).name.startswith(f"{HELD}/"):
        hand = int(model.body_parentid[hand])
    links = [
        int(model.joint(name).bodyid[0])
        for name in (joints[(len(joints) - 1) // 2], joints[-2:][0])
    ]
    return tuple(dict.fromkeys(model.body(i).name for i in (*links, hand)))


def _times(config: ProtocolConfig, task: Task) -> tuple[float, ...]:
    """Return the earliest and the latest time of an episode at which pushes and moves begin [s].

    By default they are the shares `EARLIEST` and `LATEST` of an episode.

    Args:
        config: The protocol.
        task: Task that is tried.

    Raises:
        ConfigError: A push or move at the latest time would last longer than the episode.
    """
    episode_s = task.config.episode_s
    lasts_s = config.push_s + config.push_ramp_s if config.push_n else 0.0
    times = config.at_s or (EARLIEST * episode_s, LATEST * episode_s)
    if (config.push_n or config.moved_m) and times[
        1
    ] + lasts_s > episode_s - 1.0 / task.config.control_rate_hz:
        push = f" and a push lasts {lasts_s:g} s" if lasts_s else ""
        raise ConfigError(
            f"'at_s' goes up to {times[1]:g} s{push}, but an episode of {task.name} has"
            f" {episode_s:g} s"
        )
    return times


def check_payloads(config: ProtocolConfig, task: Task) -> None:
    """Check that the operator will put no larger payload into the hand than the safety filter
    allows for. Only in torque mode is there a limit.

    Args:
        config: The protocol.
        task: Task that is tried by hand.

    Raises:
        ConfigError: In torque mode, a payload of the protocol is larger than that of the robot
            file.
    """
    declared = task.robot.payload_kg
    most = max(config.payload_kg, default=0.0)
    if task.config.command_mode == "torque" and most > declared:
        raise ConfigError(
            f"by hand, 'payload_kg' goes up to {most:g} kg, but the safety filter reckons with"
            f" {declared:g} kg in torque mode: declare 'payload_kg' (and 'payload_center_m') in the"
            f" robot file '{task.config.robot}' or in the task, or give a protocol without it"
        )
