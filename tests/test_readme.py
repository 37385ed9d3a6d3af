"""README: its length, its links, its Python example and its public names."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import sql_ros
from sql_ros.common.data_files import share_folder

ROOT = share_folder()
README = (ROOT / "README.md").read_text()


def test_readme_is_short():
    assert len(README.splitlines()) <= 120


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))],
    ids=lambda p: p.name,
)
def test_links_to_files_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_python_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "stacked"


@pytest.mark.parametrize("name", sql_ros.__all__)
def test_public_names_can_be_imported(name):
    assert getattr(sql_ros, name)


def test_an_unknown_name_lists_the_public_ones():
    with pytest.raises(AttributeError, match="expected one of: Episode, ObjectPose"):
        sql_ros.load_robot  # noqa: B018
