"""The form of pages and code: width of lines, and names of files that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sql_ros.common.data_files import share_folder

ROOT = share_folder()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MOST_COLUMNS = 100


def _prose(text: str) -> Iterator[str]:
    """Yield the lines of a page outside of code blocks and tables, without the targets of links."""
    is_code = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code and not line.startswith("|"):
            yield re.sub(r"\]\([^)]*\)", "]()", line)


def _exists(name: str) -> bool:
    """Return whether a Python file is in the repository, in the package or in its tests."""
    return any((ROOT / folder / name).is_file() for folder in ("", "sql_ros", "tests"))


def _too_wide(page: Path) -> list[str]:
    return [line for line in _prose(page.read_text()) if len(line) > MOST_COLUMNS]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_lines_of_a_page_fit_into_100_columns(page):
    assert _too_wide(page) == []


def test_lines_of_python_fit_into_100_columns():
    """Also those that ruff leaves out: with a `noqa`, a pragma or an address at the end."""
    files = [*(ROOT / "sql_ros").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    wide = [
        f"{file}:{number}"
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if len(line) > MOST_COLUMNS
    ]
    assert files
    assert wide == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_files_that_a_page_names_exist(page):
    """Names with a folder, such as `robot/model.py`."""
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", page.read_text()))
    assert {name for name in named if not _exists(name)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_anchors_that_a_page_links_to_exist(page):
    for target, anchor in re.findall(r"\]\(([\w./]*\.md)?#([\w-]+)\)", page.read_text()):
        text = (page.parent / target if target else page).read_text()
        titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert anchor in slugs | set(re.findall(r'<a id="([^"]+)">', text)), f"{target}#{anchor}"
