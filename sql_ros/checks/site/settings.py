"""Reference pages of the ROS parameters and of the keys of files, from the config classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from sql_ros.checks.site.markdown import cell, code, table
from sql_ros.common.config import Config, options_of
from sql_ros.common.errors import ConfigError
from sql_ros.nodes.declared import CONFIGS, declared_by
from sql_ros.robot.action_space import TwistConfig
from sql_ros.robot.config import BasePose, RequiredStop, RobotConfig
from sql_ros.robot.controllers import ControllerConfig
from sql_ros.robot.measured import Measurement
from sql_ros.robot.objects import ObjectsConfig
from sql_ros.robot.task import TaskConfig
from sql_ros.robot.tasks import reach, stack
from sql_ros.trials.protocol import ProtocolConfig

HEADER = ["key", "type", "default", "range", "description"]
# title, sentence, class, and a class whose keys another section lists
FILES: tuple[tuple[str, str, type[Config], type[Config] | None], ...] = (
    (
        "Robot file",
        "A file of `config/robots/`, or beside a task of your own: [your arm](../your_arm.md).",
        RobotConfig,
        None,
    ),
    (
        "Controller",
        "A value of `controllers` in a robot file, one per command mode.",
        ControllerConfig,
        None,
    ),
    ("Required stop", "An entry of `required_stops` in a robot file.", RequiredStop, None),
    ("Base", "The keys of `base` in a robot file.", BasePose, None),
    (
        "Task file",
        "A file of `config/tasks/`, or [your own](../your_task.md). `kind` names its code.",
        TaskConfig,
        None,
    ),
    ("Task file of kind reach", "Further keys of this kind.", reach.TaskConfig, TaskConfig),
    ("Task file of kind stack", "Further keys of this kind.", stack.TaskConfig, TaskConfig),
    ("Twist", "The keys of `twist` in a task file.", TwistConfig, None),
    ("Objects", "The keys of `objects` in a task file.", ObjectsConfig, None),
    (
        "Protocol of trials",
        "A file of `config/trials/`: [trials](../stacking.md#perturbation-trials).",
        ProtocolConfig,
        None,
    ),
    (
        "Record of an identification",
        "A file of `~/.local/state/sql_ros/measured`, written by the actor of a real arm.",
        Measurement,
        None,
    ),
)


def parameters_page() -> str:
    """Return the page of the ROS parameters of all nodes.

    Raises:
        ConfigError: A parameter has no description.
    """
    sections = [
        f"## {node}\n{table(['parameter', *HEADER[1:], 'live'], _parameter_rows(node))}"
        for node in CONFIGS
    ]
    text = "\n".join(sections)
    return f"""# Parameters

`sql-ros params` lists the same in a terminal. [The stack](../stack.md#parameters) describes where
values come from. `ros2 param set` changes a live parameter while its node runs.

{text}"""


def files_page(run: type[Config]) -> str:
    """Return the page of the keys of each file that a user writes or reads.

    Args:
        run: Class of the options `run` of `sql-ros train`, which is in a room above this one.

    Raises:
        ConfigError: A key has no description.
    """
    sections = []
    of_train = (
        "Options run of sql-ros train",
        "Given by `--set run.KEY=VALUE`. `algorithm` and `trainer` have the keys of the"
        " [learner](parameters.md#learner).",
        run,
        None,
    )
    for title, sentence, config, base in (*FILES, of_train):
        known = {field.name for field in options_of(base)} if base else set()
        fields = [field for field in options_of(config) if field.name not in known]
        rows = [(code(field.name), *_cells(field.name, field)) for field in fields]
        sections.append(f"## {title}\n\n{sentence}\n{table(HEADER, rows)}")
    text = "\n".join(sections)
    return f"""# File formats

[The files of a run](../stack.md#the-files-of-a-run) lists what a run writes. An unknown key of a
file is an error.

{text}"""


def _parameter_rows(node: str) -> Iterable[tuple[str, ...]]:
    """Yield the row of each parameter of a node.

    Raises:
        ConfigError: A parameter has no description.
    """
    for name, field in declared_by(node).items():
        yield code(name), *_cells(name, field), "yes" if field.metadata["live"] else ""


def _cells(name: str, field: dataclasses.Field[object]) -> tuple[str, str, str, str]:
    """Return type, default, range and description of a field.

    Args:
        name: Full name, for the error text.
        field: Field of a config class.

    Raises:
        ConfigError: The field has no description.
    """
    rules = field.metadata
    if not rules.get("description"):
        raise ConfigError(f"'{name}' has no description")
    bounds = [f">= {rules['minimum']:g}"] if rules["minimum"] is not None else []
    bounds += [f"<= {rules['maximum']:g}"] if rules["maximum"] is not None else []
    bounds += list(rules["choices"] or ())
    return (
        code(field.type),
        _default(field),
        cell(", ".join(map(str, bounds))),
        cell(rules["description"]),
    )


def _default(field: dataclasses.Field[object]) -> str:
    """Return the default of a field in the style of code, or that there is none."""
    if field.default is not dataclasses.MISSING:
        return code(repr(field.default))
    if field.default_factory is not dataclasses.MISSING:
        return code(repr(field.default_factory()))
    return "required"
