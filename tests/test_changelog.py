"""CHANGELOG.rst and the version of the package."""

from __future__ import annotations

import re

import sql_ros
from sql_ros.common.data_files import share_folder

ROOT = share_folder()
CHANGELOG = (ROOT / "CHANGELOG.rst").read_text()
TITLES = re.findall(r"^(\S.*)\n-+$", CHANGELOG, re.MULTILINE)


def _found(name: str, pattern: str) -> str:
    """Return the one text of a file in the repository that matches the group of a pattern."""
    (text,) = re.findall(pattern, (ROOT / name).read_text())
    return text


def test_setup_and_package_xml_have_the_version_of_the_package():
    assert _found("setup.py", r'version="([^"]+)"') == sql_ros.__version__
    assert _found("package.xml", r"<version>([^<]+)</version>") == sql_ros.__version__


def test_the_newest_release_of_the_changelog_is_this_version():
    forthcoming, newest = TITLES[:2]
    assert forthcoming == "Forthcoming"
    assert re.fullmatch(rf"{re.escape(sql_ros.__version__)} \(\d{{4}}-\d\d-\d\d\)", newest)


def test_each_entry_of_the_changelog_is_one_line():
    assert not [line for line in CHANGELOG.splitlines() if line.startswith("  ")]
    assert not [line for line in CHANGELOG.splitlines() if len(line) > 100]
