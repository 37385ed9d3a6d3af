"""Whether a run was safe, by its record. Pure."""

from __future__ import annotations

from sql_ros.checks.drivers.recorder import Record
from sql_ros.robot.config import RobotConfig

STEP_SHARE = 1.1  # a command's step, of what the acceleration limit allows in one period
SPEED_SHARE = 1.02  # a commanded speed, of its limit
CAUGHT_UP = 1.5  # a measured speed, of its limit: a trajectory that came late is caught up


def violations(record: Record, robot: RobotConfig) -> list[str]:
    """Return what was unsafe in a run, each as measured and as allowed; empty: nothing."""
    tip = robot.tip_speed_limit_m_s
    tool = record.commanded_tool_speed_m_s
    limits = [
        ("first command's step", record.first_step, STEP_SHARE, "of the acceleration limit"),
        ("step between commands", record.step, STEP_SHARE, "of the acceleration limit"),
        ("commanded speed", record.commanded_speed, SPEED_SHARE, "of the velocity limit"),
        ("commanded tool speed", tool, SPEED_SHARE * tip, "m/s"),
        ("joint speed", record.speed, CAUGHT_UP, "of the velocity limit"),
        ("tool speed", record.tool_speed_m_s, CAUGHT_UP * tip, "m/s"),
        ("beyond position limits", record.beyond_limits_rad, 0.0, "rad"),
        ("commands that the controller refused", record.refused_commands, 0, ""),
    ]
    return [f"{what} {value:.4g}, expected at most {limit:.4g} {unit}".strip() for what, value, limit, unit in limits if value > limit]
