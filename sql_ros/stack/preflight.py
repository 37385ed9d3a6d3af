"""Check a stack before any of its processes starts.

The checks are the same for `sql-ros up`, `ros2 launch` and `sql-ros trials`. They write nothing, so
a start that is refused leaves no trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sql_ros.arms.robot_checks import require_sound_robot
from sql_ros.common.config import config_from_mapping
from sql_ros.common.data_files import find_file, find_policies, share_folder
from sql_ros.common.errors import ConfigError
from sql_ros.common.run_folder import check_can_be_made, check_is_unlocked, check_is_unused
from sql_ros.common.shared_key import read_key
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.learning.preflight import check_training
from sql_ros.learning.resources import SESSION_BYTES, check_disk
from sql_ros.learning.resume import check_arm, check_has_run, task_of_run
from sql_ros.robot.measured import (
    check_is_measured,
    known_latency,
    measured_arm,
    present_domain,
    resolved_topic,
)
from sql_ros.robot.safety.clearance import Clearance
from sql_ros.robot.safety.protection import check_shapes
from sql_ros.stack.arguments import SAWYER_STACK_ARGUMENTS, check_arguments, whole_number
from sql_ros.stack.description import Stack, describe
from sql_ros.stack.params_file import check_parameters
from sql_ros.stack.settings import Settings, read_settings

LEARNER_PACKAGES = ("torch", "safetensors")
PAGE_MODULE = "websockets.asyncio.server"  # older releases of websockets lack it
LEARNER_PARAMETERS = "parameters of the learner"  # named in errors
ADVICE = {"train": "give resume:=true to continue it, or another run_dir"}  # by mode, for errors


def preflight(given: Mapping[str, str]) -> Stack:
    """Return the description of a stack, after all checks that need no running process.

    Checked are arguments, task, scene, the user's own robot in simulation, run folder, policy and
    protocol, params file and key files. For a real arm outside a dry run, collision shapes, scene
    and latency are checked, too. In mode train it is packages, memory, disk space and resume
    conditions, in other modes the disk space. A page needs its packages.

    Args:
        given: Name to value of launch arguments; the others take their defaults. A missing task is
            that of the run to resume, or of the policy.

    Raises:
        SqlRosError: The stack must not be started. The text is the reason, in one line.
    """
    settings = read_settings(with_task(given))
    stack = describe(settings)
    if settings.args["page"] == "true":
        check_page_packages("page:=true")
    _check_own_robot(settings)
    _check_run_folder(settings)
    if settings.policies:
        _check_policies(settings)
    if settings.args["params_file"]:
        check_parameters({process.executable: process.parameters for process in stack.processes})
    key_files = {str(process.parameters.get("key_file", "")) for process in stack.processes}
    for key_file in key_files - {""}:
        read_key(Path(key_file))
    if not (settings.sim or settings.dry_run):
        config = settings.task.config
        settings.task.robot.check_confirmed()
        check_shapes(Clearance(settings.task.robot, config.scene), config.scene)
        _check_latency(settings, stack)
    if settings.mode == "train":
        _check_learner(settings, stack.parameters_of("learner"))
    else:
        check_disk(settings.run_dir, SESSION_BYTES)
    return stack


def _check_latency(settings: Settings, stack: Stack) -> None:
    """Check that the latency of a real arm is known, or that the arm is to be identified first.

    Args:
        settings: Settings of the stack.
        stack: Its description, with the parameter `identify` of the node that moves the arm.

    Raises:
        ConfigError: The latency is not known, and no identification is to come.
    """
    robot = settings.task.robot
    mode = settings.task.spec.command_mode
    robot_file = find_file(settings.task.config.robot, "config/robots")
    node = "trials" if settings.mode == "trials" else "actor"
    identify = str(stack.parameters_of(node).get("identify", "first"))
    topic = resolved_topic(settings.topics["commands"], settings.namespace)
    arm = measured_arm(robot_file, mode, topic, robot.wire_joints, present_domain())
    check_is_measured(known_latency(robot, arm), robot, robot_file, mode, identify)


def with_task(given: Mapping[str, str]) -> dict[str, str]:
    """Return launch arguments with the task filled in from the run to resume, or from the policy.

    Args:
        given: Name to value of the given launch arguments. Without a run to resume and without a
            policy they are returned as they are.

    Raises:
        SqlRosError: There is no such run or policy, or it is of another task than the given one.
    """
    args = check_arguments(given)
    if args["resume"] == "true" and args["run_dir"]:
        return {**given, "task": _task_of_run(Path(args["run_dir"]).resolve(), args["task"])}
    if args["policy"]:
        # imports ONNX Runtime, which only a start with a policy needs
        from sql_ros.robot.policy_file import task_of_policy

        paths = find_policies(args["policy"])
        if len(paths) > 1 and args["task"]:
            return dict(given)  # skills may observe less than the task that blends them
        return {**given, "task": task_of_policy(paths[0], args["task"])}
    return dict(given)


def _task_of_run(folder: Path, task: str) -> str:
    """Return the task of a run that is to be resumed.

    Args:
        folder: Run folder.
        task: Task that the user gave; empty: none.

    Raises:
        ConfigError: The folder has no run; or neither the user nor the run names a task; or the two
            name different tasks.
    """
    check_has_run(folder)
    of_run = task_of_run(folder)
    if not (task or of_run):
        raise ConfigError(f"{folder} does not say which task it is of: give task:=")
    if task and of_run and Path(task).stem != Path(of_run).stem:
        raise ConfigError(
            f"{folder} is a run of task '{Path(of_run).stem}', but task:={task} is given: leave it"
            " out, or resume another run"
        )
    return task or of_run


def _check_own_robot(settings: Settings) -> None:
    """Check the robot of a task that is not shipped, and print the result.

    The tests of this package check the shipped ones.

    Raises:
        ConfigError: A check failed.
    """
    task_file = find_file(settings.args["task"], "config/tasks").resolve()
    if share_folder().resolve() in task_file.parents:
        return
    report = require_sound_robot(settings.task)
    for line in report.lines():
        print(f"{settings.task.robot.name}: {line}", flush=True)


def _check_run_folder(settings: Settings) -> None:
    """Check that the run folder can be made, that no running stack uses it, and that no earlier run
    would be overwritten.

    Raises:
        ConfigError: One of these is not so.
    """
    folder = settings.run_dir
    check_can_be_made(folder, "run_dir")
    if not settings.args["run_dir"]:  # a name made of the time is free
        return
    check_is_unlocked(folder)
    if not settings.resume:
        check_is_unused(folder, ADVICE.get(settings.mode, "give another run_dir, or none"))


def _check_policies(settings: Settings) -> None:
    """Check the policy file, or those of several skills with their weights; for trials also the
    protocol.

    ONNX Runtime is imported here, so that a start without a policy does not load it.

    Args:
        settings: Settings of the stack.

    Raises:
        SqlRosError: The policy or the protocol cannot be read, or does not fit the task.
    """
    from sql_ros.robot.policy_file import read_blend, read_policy
    from sql_ros.trials.protocol import check_payloads, load_protocol

    if len(settings.policies) > 1:
        read_blend(settings.policies, settings.args["weights"], settings.task)
    else:
        read_policy(settings.policies[0], settings.task)
    if settings.mode == "trials":
        repeats = whole_number(settings.args, "repeats")
        protocol = load_protocol(settings.args["protocol"], settings.task, repeats)
        if settings.by_hand:
            check_payloads(protocol, settings.task)


def _check_learner(settings: Settings, parameters: Mapping[str, Any]) -> None:
    """Check the packages, parameters, memory, disk space and resume conditions of the learner.

    Args:
        settings: Settings of the stack.
        parameters: Parameters of the learner, name to value.

    Raises:
        SqlRosError: The learner would refuse to start, or would run out of memory or disk space.
    """
    missing = [name for name in LEARNER_PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"mode:=train needs {' and '.join(missing)}, not installed here: pip install"
            " 'sql_ros[learner]'"
        )
    algorithm = algorithm_of(parameters)
    trainer = config_from_mapping(
        TrainerConfig, _section(parameters, "trainer."), LEARNER_PARAMETERS
    )
    check_training(
        settings.run_dir,
        settings.task.spec,
        algorithm,
        trainer,
        most_transitions=settings.most_transitions,
        resume=settings.resume,
    )
    if settings.resume:
        check_arm(settings.run_dir, real_arm=settings.has_real_arm)


def check_page_packages(argument: str) -> None:
    """Check that the packages of the page can be imported.

    Args:
        argument: What asks for the page, for the error.

    Raises:
        ConfigError: One of them is not installed.
    """
    try:
        is_there = find_spec(PAGE_MODULE) is not None
    except ImportError:
        is_there = False
    if not is_there:
        raise ConfigError(
            f"{argument} needs websockets 14 or later, not installed here: pip install"
            " 'sql_ros[page]'"
        )


def algorithm_of(parameters: Mapping[str, Any]) -> AlgorithmConfig:
    """Return the algorithm's configuration from the parameters of a learner.

    Args:
        parameters: Parameter name to value; only names that begin with `algorithm.` are read.

    Raises:
        ConfigError: A parameter is unknown, of the wrong type or out of range.
    """
    return config_from_mapping(
        AlgorithmConfig, _section(parameters, "algorithm."), LEARNER_PARAMETERS
    )


def _section(parameters: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the parameters whose names begin with a prefix, under their names without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in parameters.items()
        if name.startswith(prefix)
    }


# name of a stack to its launch arguments and its preflight
STACKS = {"sawyer_stack": (SAWYER_STACK_ARGUMENTS, preflight)}
