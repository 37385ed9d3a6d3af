"""The page of results is what the committed JSON files give."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sql_ros.checks.results import load_records, render
from sql_ros.common.data_files import share_folder
from sql_ros.common.errors import ConfigError

DOCS = share_folder() / "docs"
RESULTS = DOCS / "results"
SOUND = {
    "title": "Stops",
    "chapter": "Safety",
    "date": "2026-11-30",
    "machine": "two cores",
    "file": "stops.json",
    "values": [["stops", "stops", "{:.0f}"]],
}


def _page(folder: Path, **changes: object) -> str:
    """Return the page of one record over a file with the figure "stops"."""
    (folder / "records").mkdir()
    (folder / "stops.json").write_text(
        '{"command": "sql-ros verify stops", "figures": {"stops": 7}}'
    )
    (folder / "records" / "010-stops.json").write_text(json.dumps({**SOUND, **changes}))
    return render(folder)


def test_the_page_is_what_the_committed_json_gives():
    page = (DOCS / "results.md").read_text()
    assert page == render(RESULTS), "run: python -m sql_ros.checks.results"


def test_each_json_of_a_command_has_a_record():
    named = {record.file for record in load_records(RESULTS / "records")}
    groups = ("*.json", "*/finding.json", "*/ablation.json", "*/verify.json", "*/figures.json")
    found = {str(path.relative_to(RESULTS)) for group in groups for path in RESULTS.glob(group)}
    assert found - named == set()


@pytest.mark.parametrize(
    "page",
    [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))],
    ids=lambda p: p.name,
)
def test_links_to_results_name_a_result(page):
    known = {record.id for record in load_records(RESULTS / "records")}
    assert set(re.findall(r"results\.md#([\w-]+)", page.read_text())) <= known


def test_a_record_shows_command_machine_date_and_value(tmp_path):
    page = _page(tmp_path)
    for text in ("sql-ros verify stops", "two cores", "2026-11-30", "| stops | 7 |"):
        assert text in page


def test_an_unknown_key_of_a_record_lists_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"datum.*expected the keys id, title"):
        _page(tmp_path, datum="2026-11-30")


def test_a_value_that_the_file_lacks_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"stops\.json has no value starts"):
        _page(tmp_path, values=[["starts", "starts", "{:.0f}"]])


def test_a_record_needs_a_file_or_a_source(tmp_path):
    with pytest.raises(ConfigError, match="either 'file' or 'source'"):
        _page(tmp_path, file="")


def test_numbers_that_readme_quotes_stand_in_their_result():
    readme, page = (DOCS.parent / "README.md").read_text(), (DOCS / "results.md").read_text()
    quotes = re.findall(r"\[([^\]]*)\]\(docs/results\.md#([\w-]+)\)", readme)
    assert any(re.search(r"\d", text) for text, _ in quotes)
    for text, name in quotes:
        section = page.split(f'<a id="{name}">')[1].split("<a id=")[0]
        for number in re.findall(r"\d[\d.,]*", text):
            assert re.search(rf"\b{re.escape(number)}\b", section), f"{number} is not in {name}"
