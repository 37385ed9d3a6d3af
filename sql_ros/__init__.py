"""Soft Q-learning for real robot arms over ROS 2.

``sql`` is soft Q-learning (Haarnoja et al. 2017), not the database language. An import points only
downwards: ``cli`` -> ``experiments`` -> ``checks`` -> ``nodes`` -> ``runs``, ``envs``, ``stack`` ->
``sim``
-> ``trials`` -> ``robot``, ``learning`` -> ``policy`` -> ``common``.
"""

import ctypes
import importlib
import os

if "DISPLAY" not in os.environ and "MUJOCO_GL" not in os.environ:
    # read when mujoco is first imported: without a display its default cannot render, and without
    # the library its import fails
    try:
        ctypes.CDLL("libEGL.so.1")
        os.environ["MUJOCO_GL"] = "egl"
    except OSError:
        pass

# ONNX Runtime reads this when it is imported: no telemetry thread in any process, no files under
# ~/.cache
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.2.0"

PUBLIC = {
    "Episode": "sql_ros.robot.task",
    "ObjectPose": "sql_ros.robot.objects",
    "Policy": "sql_ros.policy.runtime",
    "RobotState": "sql_ros.robot.arm",
    "Task": "sql_ros.robot.task",
    "TaskConfig": "sql_ros.robot.task",
    "load_policy": "sql_ros.robot.policy_file",
    "load_task": "sql_ros.robot.tasks",
    "option": "sql_ros.common.config",
}  # name: the module that has it, imported at first use
__all__ = [
    "Episode",
    "ObjectPose",
    "Policy",
    "RobotState",
    "Task",
    "TaskConfig",
    "__version__",
    "load_policy",
    "load_task",
    "option",
]


def __getattr__(name: str) -> object:
    """Import a public name at its first use."""
    if name not in PUBLIC:
        raise AttributeError(
            f"module 'sql_ros' has no attribute '{name}', expected one of: {', '.join(__all__)}"
        )
    return getattr(importlib.import_module(PUBLIC[name]), name)
