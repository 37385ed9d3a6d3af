"""The judgement whether a run was safe, from its record; pure."""

from __future__ import annotations

from sql_ros.checks.drivers.recorder import MotionRecord
from sql_ros.robot.config import RobotConfig

STEP_SHARE = 1.1  # largest step of a command, as a share of the acceleration limit
SPEED_SHARE = 1.02  # largest commanded speed, as a share of its limit
CAUGHT_UP = 1.5  # largest measured speed, as a share: an arm catches up with a late trajectory


def violations(record: MotionRecord, robot: RobotConfig, *, wired_wrong: bool = False) -> list[str]:
    """Return what was unsafe in a run.

    Args:
        record: Figures of the run.
        robot: Gives the limit of the tool's speed.
        wired_wrong: Whether the driver passes commands on with a wrong sign, order or scale.
            Position commands then follow an arm that moves against them, so a step between commands
            is unsafe only if the arm itself accelerated as much.

    Returns:
        One text per exceeded limit, with the measured and the allowed value; empty: the run was
        safe.
    """
    tip = robot.speed_limit_m_s
    step = min(record.step, record.acceleration) if wired_wrong else record.step
    tool = record.commanded_tool_speed_m_s
    limits = [
        ("first command's step", record.first_step, STEP_SHARE, "of the acceleration limit"),
        ("step between commands", step, STEP_SHARE, "of the acceleration limit"),
        ("commanded speed", record.commanded_speed, SPEED_SHARE, "of the velocity limit"),
        ("commanded tool speed", tool, SPEED_SHARE * tip, "m/s"),
        ("joint speed", record.speed, CAUGHT_UP, "of the velocity limit"),
        ("tool speed", record.tool_speed_m_s, CAUGHT_UP * tip, "m/s"),
        ("beyond position limits", record.beyond_limits_rad, 0.0, "rad"),
        ("commands that the controller refused", record.refused_commands, 0, ""),
    ]
    return [
        f"{what} {value:.4g}, expected at most {limit:.4g} {unit}".strip()
        for what, value, limit, unit in limits
        if value > limit
    ]
