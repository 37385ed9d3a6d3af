"""The ROS parameters of the page."""

from __future__ import annotations

from dataclasses import dataclass

from sql_ros.common.config import Config, option


@dataclass(frozen=True)
class PageConfig(Config):
    """ROS parameters of the page."""

    task: str = option("sawyer_reach", "name of a file in config/tasks/, or a path")
    joint_prefix: str = option(
        "", "prefix of every joint and frame name on topics; empty: as in config/robots/"
    )
