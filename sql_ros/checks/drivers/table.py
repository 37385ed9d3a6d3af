"""The table of cases: which one is played on which arm and in which mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sql_ros.checks.drivers.arms import ARMS, ArmDouble
from sql_ros.checks.drivers.cases import CASES, PLAY, TRAIN, TRIALS, DriverCase
from sql_ros.common.errors import ConfigError

BOTH = ("sawyer_velocity", "ur5e")
ALL = ("sawyer_velocity", "sawyer_torque", "ur5e")
DESIRED = ("ur5e_desired",)
TORQUE = ("sawyer_torque",)
SAWYER = ("sawyer_velocity",)
PANDA = ("panda",)
INTERA = ("sawyer_intera",)  # its rows are not run if its messages are not installed
TABLE: dict[str, dict[str, tuple[str, ...]]] = {
    PLAY: {
        "nominal": (*ALL, *DESIRED, *INTERA, *PANDA),
        **dict.fromkeys(("best_effort", "rate_1000", "effort_nan", "jitter"), ALL),
        **dict.fromkeys(("gripper_beside", "dropouts"), ALL),
        **dict.fromkeys(("rate_125", "rate_250", "order_reversed", "gripper_inside"), BOTH),
        **dict.fromkeys(("prefix", "effort_empty", "velocity_nan_option"), BOTH),
        "velocity_empty_option": ALL,
        **dict.fromkeys(("velocity_empty", "velocity_nan", "stamps_frozen", "name_twice"), BOTH),
        **dict.fromkeys(("two_publishers", "second_publisher_comes", "states_stop"), BOTH),
        **dict.fromkeys(("other_joints", "mode_without_controller", "dry_run"), BOTH),
        **dict.fromkeys(("controller_late", "controller_dies", "protective_stop"), ALL),
        **dict.fromkeys(("sign_flipped", "identified"), ALL),
        "identified_wrong_sign": BOTH,
        **dict.fromkeys(("scale_doubled", "joints_swapped"), BOTH),
        **dict.fromkeys(("controller_other_type", "actor_killed", "stack_killed"), BOTH),
        **dict.fromkeys(("stack_terminated", "started_while_stopped"), BOTH),
        "effort_not_accepted": TORQUE,
        "policy_of_another_arm": SAWYER,
        **dict.fromkeys(("encoder_noise_option", "slow_servo", "driver_restarts"), BOTH),
        "clock_steps_back": BOTH,
        **dict.fromkeys(("encoder_noise", "other_clock", "stamps_zero"), SAWYER),
        **dict.fromkeys(("speed_slider", "described", "another_arm_described"), ("ur5e",)),
        "emergency_stop": INTERA,
    },
    TRAIN: {
        "trained": (*ALL, *DESIRED, *INTERA, *PANDA),
        **dict.fromkeys(("controller_late", "protective_stop"), ALL),
        **dict.fromkeys(("best_effort", "effort_nan", "two_publishers"), BOTH),
        **dict.fromkeys(("controller_dies", "learner_missing", "resume_mistyped"), BOTH),
    },
    TRIALS: {
        "tried": (*ALL, *DESIRED, *INTERA, *PANDA),
        "pushed_effort_nan": BOTH,
        **dict.fromkeys(("controller_late", "protective_stop", "velocity_nan"), BOTH),
    },
}
SHORT = (  # the rows that `make test` runs
    "ur5e/play/another_arm_described",
    "ur5e/play/effort_nan",
    "ur5e/play/protective_stop",
    "ur5e/play/sign_flipped",
    "ur5e/play/states_stop",
    "ur5e/play/identified",
    "ur5e/train/controller_late",
    "sawyer_velocity/play/two_publishers",
    "sawyer_velocity/play/controller_dies",
    "sawyer_velocity/play/actor_killed",
    "sawyer_velocity/trials/tried",
    "sawyer_torque/play/nominal",
)


@dataclass(frozen=True)
class DriverRow:
    """A row of the table: a case on an arm in a mode.

    Attributes:
        arm: The arm double.
        mode: "play", "train" or "trials".
        name: Name of the case, key of `CASES`.
    """

    arm: ArmDouble
    mode: str
    name: str

    @property
    def case(self) -> DriverCase:
        """Return the case with the name of this row."""
        return CASES[self.name]

    def __str__(self) -> str:
        return f"{self.arm.name}/{self.mode}/{self.name}"


def rows() -> Iterator[DriverRow]:
    """Yield every row of the table, mode by mode."""
    for mode, cases in TABLE.items():
        for name, arms in cases.items():
            for arm in arms:
                yield DriverRow(ARMS[arm], mode, name)


def choose(words: Iterable[str]) -> list[DriverRow]:
    """Return the rows whose name "arm/mode/case" contains at least one of the words.

    Args:
        words: Words; empty: all rows.

    Raises:
        ConfigError: A word is in no row's name.
    """
    words = list(words)
    everything = list(rows())
    for word in words:
        if not any(word in str(row) for row in everything):
            names = ", ".join(CASES)
            raise ConfigError(f"--only {word}: no such row, expected an arm/mode/case of: {names}")
    return [row for row in everything if not words or any(word in str(row) for word in words)]
