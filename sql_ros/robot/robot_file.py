"""Read a robot file. Values that it leaves out are estimated from the description of the arm."""

from __future__ import annotations

from sql_ros.common.config import config_from_mapping, read_yaml
from sql_ros.common.data_files import find_file, resolve_beside
from sql_ros.common.errors import ConfigError
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.estimates import complete_robot

# keys of former robot files that `controllers` replaces, and advice for the error
REPLACED = {
    "interface": "the 'type' of each controller decides how it takes commands",
    "command_topic": "it follows from 'name' and 'type' of each controller, unless 'topic' says so",
}


def load_robot(name: str) -> RobotConfig:
    """Read the robot file of an arm.

    Values per joint that the file leaves out are estimated from the description of the arm
    (`complete_robot`). The keys whose values are guesses are added to `unconfirmed`. Paths in
    `model` and `scene` may be relative to the folder of the file.

    Args:
        name: Name of a file config/robots/<name>.yaml, or the path of a YAML file.

    Raises:
        ConfigError: There is no such file, it has an unknown key or a key of a former version, a
            value is wrong, or the description cannot be read or lacks a joint.
    """
    path = find_file(name, "config/robots")
    values = read_yaml(path)
    for key, advice in REPLACED.items():
        if key in values:
            raise ConfigError(f"{path}: key '{key}' is replaced by 'controllers': {advice}")
    resolve_beside(values, ("model", "scene"), path)
    guessed = complete_robot(values, path)
    if guessed:
        values["unconfirmed"] = [*(values.get("unconfirmed") or ()), *guessed]
    return config_from_mapping(RobotConfig, values, str(path))
