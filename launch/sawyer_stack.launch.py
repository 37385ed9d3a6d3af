"""Trains or plays with the arm: learner, actor, simulated arm and monitor.

The processes, their parameters and remappings are described once, in sql_ros/stack/, for this file
and for `sql-ros up sawyer_stack`. Only stable API of launch and launch_ros is used, as of ROS 2
Jazzy and Kilted.
"""

import atexit
import os

from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessIO
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription
from sql_ros.common.child_process import ACTIVE, PARENT
from sql_ros.stack.arguments import SAWYER_STACK_ARGUMENTS, check_names
from sql_ros.stack.description import lock_run_dir
from sql_ros.stack.launched import append_to_log, end_on_sigterm
from sql_ros.stack.preflight import preflight
from sql_ros.stack.refusal import is_refusal, remove_run_dir
from sql_ros.stack.restarts import Restarts

RESPAWN_DELAY_S = 1.0


def _check(context):
    """Before the defaults: only here is it known what was given."""
    context.extend_globals({"sql_ros_given": set(context.launch_configurations)})
    others = check_names(
        context.launch_configurations, [word.partition(":=")[0] for word in context.argv]
    )
    return (
        [
            LogInfo(
                msg=(
                    "not arguments of sawyer_stack, left to the including launch file:"
                    f" {', '.join(others)}"
                )
            )
        ]
        if others
        else []
    )


def _nodes(context):
    names = [
        argument.name
        for argument in SAWYER_STACK_ARGUMENTS
        if argument.name in context.locals.sql_ros_given
    ]
    given = {name: LaunchConfiguration(name).perform(context) for name in names}
    stack, lock = lock_run_dir(preflight(given))
    context.extend_globals({"sql_ros_run_lock": lock})  # held as long as launch runs
    nodes = [_node(process, stack) for process in stack.processes]
    logs = [_log(node, stack.log(process)) for node, process in zip(nodes, stack.processes)]
    end_on_sigterm(lambda: [node.process_details["pid"] for node in nodes if node.process_details])
    return [
        LogInfo(msg=f"what each node says is kept in {stack.run_dir}/log/<node>.log"),
        *logs,
        *nodes,
    ]


def _node(process, stack):
    return Node(
        package="sql_ros",
        executable=process.executable,
        name=process.executable,
        namespace=stack.namespace,
        parameters=[{name: _typed(value) for name, value in process.parameters.items()}],
        remappings=list(process.remappings.items()),
        arguments=stack.own_arguments(process),
        prefix=f"taskset -c {','.join(map(str, process.cpus))}" if process.cpus else None,
        additional_env={PARENT: str(os.getpid()), ACTIVE: str(stack.marker(process))},
        output="screen",
        sigterm_timeout=str(process.seconds_to_stop),
        sigkill_timeout=str(process.seconds_to_stop),
        respawn=process.respawns,
        respawn_delay=RESPAWN_DELAY_S,
        on_exit=_after(process, stack),
    )


def _log(node, path):
    """Keep what a node says in its log."""
    return RegisterEventHandler(
        OnProcessIO(
            target_action=node,
            on_stdout=lambda event: append_to_log(event.text, path),
            on_stderr=lambda event: append_to_log(event.text, path),
        )
    )


def _after(process, stack):
    """Return what is done when a process has ended: nothing if it is started again, else all end
    with it.

    An exception is how a launch file makes `ros2 launch` return another exit code than 0.
    """
    restarts = Restarts(process, stack.marker(process))
    restarts.begin()

    def on_exit(event, context):
        if not process.is_vital and not context.is_shutdown:
            how = restarts.describe(event.returncode)
            return [LogInfo(msg=f"{how}; the stack goes on without it: {stack.log(process)}")]
        if event.returncode == 0 or context.is_shutdown:
            return [Shutdown(reason=f"{process.executable} ended")]
        if is_refusal(event.returncode, restarts):
            atexit.register(remove_run_dir, stack)  # when all nodes have ended
            raise RuntimeError(f"{restarts.describe(event.returncode)}: nothing was begun")
        how = restarts.describe(event.returncode)
        if not restarts.allow(event.returncode):
            raise RuntimeError(f"{how}; its log: {stack.log(process)}")
        restarts.begin()
        return [LogInfo(msg=f"{how} and is started again; its log: {stack.log(process)}")]

    return on_exit


def _typed(value):
    """Keep strings strings: launch would read "" and "5" as YAML."""
    return ParameterValue(value, value_type=str) if isinstance(value, str) else value


def generate_launch_description():
    """Check what was given, declare every argument with its default and description, then start
    the nodes.
    """
    arguments = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.description,
            choices=argument.spellings or None,
        )
        for argument in SAWYER_STACK_ARGUMENTS
    ]
    return LaunchDescription(
        [OpaqueFunction(function=_check), *arguments, OpaqueFunction(function=_nodes)]
    )
