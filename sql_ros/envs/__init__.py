"""Gymnasium environments of the arms and of the papers' experiments.

An import of this package registers them. `gymnasium.make("sql_ros/Arm-v0", task=...)` takes the
name or path of any task file; the other ids of arms are tasks of `config/tasks/`. The arms have the
same tasks and the same simulation as the stack.
"""

import gymnasium

gymnasium.register(id="sql_ros/Arm-v0", entry_point="sql_ros.envs.arm_env:ArmEnv")
gymnasium.register(
    id="sql_ros/SawyerReach-v0",
    entry_point="sql_ros.envs.arm_env:ArmEnv",
    kwargs={"task": "sawyer_reach"},
)
gymnasium.register(
    id="sql_ros/SawyerReach-twist-v0",
    entry_point="sql_ros.envs.arm_env:ArmEnv",
    kwargs={"task": "sawyer_reach_twist"},
)
gymnasium.register(
    id="sql_ros/UR5eReach-v0",
    entry_point="sql_ros.envs.arm_env:ArmEnv",
    kwargs={"task": "ur5e_reach"},
)
gymnasium.register(
    id="sql_ros/SawyerStack-v0",
    entry_point="sql_ros.envs.arm_env:ArmEnv",
    kwargs={"task": "sawyer_stack"},
)
gymnasium.register(
    id="sql_ros/SawyerStack-twist-v0",
    entry_point="sql_ros.envs.arm_env:ArmEnv",
    kwargs={"task": "sawyer_stack_twist"},
)
gymnasium.register(
    id="sql_ros/SawyerStack-late-v0",
    entry_point="sql_ros.envs.arm_env:ArmEnv",
    kwargs={"task": "sawyer_stack", "vary_delay_steps": 1},
)
gymnasium.register(
    id="sql_ros/MultiGoal-v0",
    entry_point="sql_ros.envs.multigoal:MultiGoalEnv",
    max_episode_steps=30,
)
gymnasium.register(
    id="sql_ros/PointMaze-v0", entry_point="sql_ros.envs.maze:PointMazeEnv", max_episode_steps=60
)
gymnasium.register(
    id="sql_ros/Snake-v0", entry_point="sql_ros.envs.snake:SnakeEnv", max_episode_steps=500
)
gymnasium.register(
    id="sql_ros/Snake-far-v0",
    entry_point="sql_ros.envs.snake:SnakeEnv",
    kwargs={"line_m": 2.0},
    max_episode_steps=500,
)
for _task in ("x", "y", "both"):
    gymnasium.register(
        id=f"sql_ros/Pusher-{_task}-v0",
        entry_point="sql_ros.envs.pusher:PusherEnv",
        kwargs={"task": _task},
        max_episode_steps=300,
    )
for _course in ("open", "wide", "narrow", "u", "maze", "maze-deep", "maze-thick", "maze-near"):
    gymnasium.register(
        id=f"sql_ros/Quadruped-{_course}-v0",
        entry_point="sql_ros.envs.quadruped:QuadrupedEnv",
        kwargs={"course": _course},
        max_episode_steps=300 if _course.startswith("maze") else 200,
    )
