"""Gymnasium environments over the same tasks and the same simulation: `gymnasium.make("sql_ros/SawyerReach-v0")`."""

import gymnasium

gymnasium.register(
    id="sql_ros/SawyerReach-v0",
    entry_point="sql_ros.envs.arm_env:ArmEnv",
    kwargs={"task": "sawyer_reach"},
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
