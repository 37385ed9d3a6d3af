"""The guide says what to do at every kind of hold that the code has."""

import re
from pathlib import Path

from sql_ros.checks.site.hold_kinds import kinds_of_code, rows_of_guide
from sql_ros.robot.safety import state_watchdog, stop_latch

ROOT = Path(__file__).parents[1]


def test_the_guide_has_every_kind_of_hold():
    assert rows_of_guide(ROOT).keys() == kinds_of_code(ROOT).keys()


def test_the_tables_of_watchdog_and_latch_are_complete():
    """So the search in the code finds what it should."""
    for module in (state_watchdog, stop_latch):
        kinds = set(re.findall(r"^`([a-z_]+)`  +", module.__doc__, re.MULTILINE))
        assert len(kinds) >= 6
        assert kinds <= kinds_of_code(ROOT).keys()
