"""The record of a measured latency, for an arm that a check or a test plays."""

from __future__ import annotations

from pathlib import Path

from sql_ros.robot.measured import MeasuredArm, Measurement, store_measurement

MEASURED_AT = "2026-11-30T00:00:00+00:00"  # the same in every record
RECORDS = "sql_ros/measured"  # folder of the records in XDG_STATE_HOME


def store_played_latency(
    arm: MeasuredArm,
    folder: Path,
    *,
    latency_s: float = 0.0,
    state_delay_s: float | None = None,
    controller: str = "",
) -> None:
    """Write the record that an identification of a played arm would leave.

    The actor of a real arm without such a record would have to identify the arm's latency before
    the arm moves.

    Args:
        arm: Result of `measured_arm`: the robot file, the command mode and the topic of the arm.
        folder: Folder of the records, `$XDG_STATE_HOME/sql_ros/measured`. Created if it does not
            exist.
        latency_s: Time from the stamp of a state to the motion that the state's command begins,
            less one control period [s].
        state_delay_s: Delay of the states, which is a part of `latency_s` [s]; None: not measured.
        controller: Name of the controller through which every joint was identified; empty: none.
    """
    record = Measurement(
        arm.sha256, arm.mode, latency_s, MEASURED_AT, "by a double", controller, state_delay_s
    )
    store_measurement(arm, record, folder)
