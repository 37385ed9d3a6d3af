"""The record of a measured latency of an arm that a check or a test plays."""

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
    """Write the record that an identification of the arm would leave.

    Without a known latency the actor of a real arm must identify it before it moves.

    Args:
        arm: The arm as it is commanded, see `measured_arm`.
        folder: Folder of the records, `$XDG_STATE_HOME/sql_ros/measured`.
        latency_s: From the stamp of a state to the motion that its command begins, less one
            control period [s].
        state_delay_s: The part of it that is the states' [s]; None: not measured.
        controller: Controller through which every joint was identified; empty: none.
    """
    record = Measurement(
        arm.sha256, arm.mode, latency_s, MEASURED_AT, "by a double", controller, state_delay_s
    )
    store_measurement(arm, record, folder)
