"""Trains or plays with the arm: learner, actor, simulated arm and monitor.

The processes, their parameters and remappings are described once, in sql_ros/stack/, for this file and for `sql-ros up sawyer_stack`.
Only stable API of launch and launch_ros is used, as of ROS 2 Jazzy and Kilted.
"""

from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription
from sql_ros.core.errors import CONFIG_EXIT_CODE
from sql_ros.stack.arguments import SAWYER_STACK_ARGUMENTS, check_names
from sql_ros.stack.description import claim_run_dir
from sql_ros.stack.preflight import preflight

RESPAWN_DELAY_S = 1.0


def _check(context):
    """Before the defaults: only here is it known what was given."""
    others = check_names(context.launch_configurations, [word.partition(":=")[0] for word in context.argv])
    return [LogInfo(msg=f"not arguments of sawyer_stack, left to the including launch file: {', '.join(others)}")] if others else []


def _nodes(context):
    given = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in SAWYER_STACK_ARGUMENTS}
    stack = preflight(given)
    context.extend_globals({"sql_ros_run_lock": claim_run_dir(stack)})  # held as long as launch runs
    return [
        Node(
            package="sql_ros",
            executable=process.executable,
            name=process.executable,
            namespace=stack.namespace,
            parameters=[{name: _typed(value) for name, value in process.parameters.items()}],
            remappings=list(process.remappings.items()),
            arguments=stack.own_arguments(process),
            prefix=f"taskset -c {','.join(map(str, process.cpus))}" if process.cpus else None,
            output="screen",
            sigterm_timeout=str(process.seconds_to_stop),
            sigkill_timeout=str(process.seconds_to_stop),
            respawn=process.respawns,
            respawn_delay=RESPAWN_DELAY_S,
            on_exit=_after(process),
        )
        for process in stack.processes
    ]


def _after(process):
    """All end with one that is not started again: it is not to be, it was told to end, or it is configured wrongly."""
    ends = [Shutdown(reason=f"{process.executable} ended")]
    return lambda event, context: None if process.respawns and event.returncode not in (0, CONFIG_EXIT_CODE) else ends


def _typed(value):
    """Keeps strings strings: launch would read "" and "5" as YAML."""
    return ParameterValue(value, value_type=str) if isinstance(value, str) else value


def generate_launch_description():
    """Checks what was given, declares every argument with its default and description, then starts the nodes."""
    arguments = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.description,
            choices=argument.spellings or None,
        )
        for argument in SAWYER_STACK_ARGUMENTS
    ]
    return LaunchDescription([OpaqueFunction(function=_check), *arguments, OpaqueFunction(function=_nodes)])
