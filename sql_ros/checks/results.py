"""The page of dated results, generated from the JSON files that are committed below docs/results.

    python -m sql_ros.checks.results

reads every record in docs/results/records and writes docs/results.md. A record is a JSON object
with the fields of `ResultRecord`. It names a JSON file of a command and the values that are shown.
A record without such a file holds its command and its values itself and says where they come from.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sql_ros.common.data_files import share_folder
from sql_ros.common.errors import ConfigError
from sql_ros.common.markdown import markdown_table

PAGE = "docs/results.md"
INTRODUCTION = """\
# Results

This page has all numbers that the other pages quote. Each section shows a command, the values that
it measured, the date and the machine.

Do not edit this page. `python -m sql_ros.checks.results` writes it from
`docs/results/records/*.json` and from the JSON files that these records name. A test fails if the
page differs from these files.

To add a result, run its command with `--json` or `--out` and a path below `docs/results`. Add a
record that names the JSON file. Then run `python -m sql_ros.checks.results`.
"""
REDUCE: dict[str, Callable[[Sequence[float]], float]] = {"max": max, "sum": sum}


@dataclasses.dataclass(frozen=True)
class ResultRecord:
    """One result.

    A value is given by its label, its cell and its format, such as
    `["missed stops", "missed", "{:.0f}"]`. A cell is a name among the "figures" of the file, a
    list of keys into the file, or an object with "group", "name" and "reduce" that takes the
    largest value ("max") or the sum ("sum") of the matching "checks". In a table, `{row}` in a cell
    stands for the key of the row.

    Attributes:
        id: name of the record's file without .json, and the anchor of its section.
        title: heading of the section.
        chapter: heading of the chapter that holds the section.
        date: day on which the command ran, as 2026-11-30.
        machine: where it ran, with the load if it is known.
        file: JSON file of the command, relative to docs/results; "" if there is none.
        command: typed command; None takes the one in the file.
        source: where the values come from when there is no file.
        date_is_of_commit: whether `date` is the day on which the file was committed.
        values: label, cell and format of each single value. Without a file: label and text.
        table: None, or {"rows": [[label, key], ...], "columns": [[label, cell, format], ...]}.
            Without a file: {"rows": [[label, text, ...], ...], "columns": [label, ...]}.
        notes: sentences for the reader, one a line.
        links: label and path, relative to docs/results, of reports and pictures.
    """

    id: str
    title: str
    chapter: str
    date: str
    machine: str
    file: str = ""
    command: str | None = None
    source: str = ""
    date_is_of_commit: bool = False
    values: Sequence[Sequence[Any]] = ()
    table: dict[str, Sequence[Any]] | None = None
    notes: Sequence[str] = ()
    links: Sequence[Sequence[str]] = ()

    def __post_init__(self) -> None:
        """Check that the record has exactly one of `file` and `source`, and a command if it has no
        file.

        Raises:
            ConfigError: The record has both or neither, or has no file and no command.
        """
        if bool(self.file) == bool(self.source):
            raise ConfigError(f"record '{self.id}': expected either 'file' or 'source'")
        if not self.file and not self.command:
            raise ConfigError(f"record '{self.id}': without a file it needs 'command'")


def load_records(folder: Path) -> list[ResultRecord]:
    """Return the records of a folder, in the order of their file names.

    The id of a record is its file name without the number before the first hyphen and without
    .json.

    Args:
        folder: Folder docs/results/records.

    Raises:
        ConfigError: A file is not JSON, has unknown or missing keys, or has no hyphen in its name.
    """
    records = []
    for path in sorted(folder.glob("*.json")):
        try:
            records.append(
                ResultRecord(id=path.stem.split("-", 1)[1], **json.loads(path.read_text()))
            )
        except (json.JSONDecodeError, TypeError, IndexError) as error:
            fields = ", ".join(field.name for field in dataclasses.fields(ResultRecord))
            raise ConfigError(f"{path}: {error}; expected the keys {fields}") from error
    return records


def render(results: Path) -> str:
    """Return the Markdown text of the page; nothing is written.

    Args:
        results: Folder docs/results.

    Raises:
        ConfigError: A record is not valid, or names a value that its file does not have.
        OSError: A file that a record names cannot be read.
    """
    records = load_records(results / "records")
    parts = [INTRODUCTION]
    chapter = ""
    for record in records:
        if record.chapter != chapter:
            chapter = record.chapter
            parts.append(f"## {chapter}\n")
        parts.append(_section(record, results))
    return "\n".join(parts)


def _section(record: ResultRecord, results: Path) -> str:
    """Return the Markdown section of one record, ending with a newline.

    Args:
        record: The record.
        results: Folder docs/results.

    Raises:
        ConfigError: The record names a value that its file does not have.
    """
    content: dict[str, Any] = {}
    if record.file:
        content = json.loads((results / record.file).read_text())
    command = record.command or content["command"]
    lines = [f'<a id="{record.id}"></a>', "", f"### {record.title}", ""]
    lines += ["```", *(line.strip() for line in command.splitlines()), "```", ""]
    if record.values:
        lines += [*_values(record, content), ""]
    if record.table is not None:
        lines += [*_table(record, record.table, content), ""]
    lines += [_wrapped(note) + "\n" for note in record.notes]
    lines += [*_origin(record, content), ""]
    return "\n".join(lines)


def _versions(versions: dict[str, str]) -> str:
    """Return the versions of package, Python and platform.

    Args:
        versions: The entry "versions" of a command's JSON file.
    """
    package, python, platform = (versions[name] for name in ("sql_ros", "python", "machine"))
    return f"sql_ros {package}, Python {python}, {platform}"


def _wrapped(text: str) -> str:
    """Return a paragraph in lines of at most 100 columns."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _values(record: ResultRecord, content: dict[str, Any]) -> list[str]:
    """Return the lines of the Markdown table of a record's single values.

    Args:
        record: The record.
        content: JSON file of the record; empty if the record has none.
    """
    rows = []
    for value in record.values:
        if record.file:
            label, cell, form = value
            text = _text(_number(record, content, cell), form)
        else:
            label, text = value
        rows.append((label, text))
    return markdown_table(["value", ""], rows).splitlines()


def _table(
    record: ResultRecord, table: dict[str, Sequence[Any]], content: dict[str, Any]
) -> list[str]:
    """Return the lines of the Markdown table of a record's rows and columns.

    Args:
        record: The record.
        table: Its field `table`.
        content: JSON file of the record; empty if the record has none.
    """
    columns = table["columns"]
    labels = [label for label, _, _ in columns] if record.file else columns
    rows = []
    for label, *texts in table["rows"]:
        cells = texts
        if record.file:
            (key,) = texts
            cells = [_text(_number(record, content, cell, key), form) for _, cell, form in columns]
        rows.append([label, *cells])
    return markdown_table(["", *labels], rows, range(1, len(labels) + 1)).splitlines()


def _number(record: ResultRecord, content: dict[str, Any], cell: Any, row: str = "") -> Any:
    """Return the value that a cell names.

    Args:
        record: The record, for the error text.
        content: JSON file of the record.
        cell: Name of a figure, list of keys, or selection of checks; see `ResultRecord`.
        row: Text that replaces `{row}` in the cell.

    Returns:
        The value as it is in the file: a number, a text, or None for JSON's null.

    Raises:
        ConfigError: The file has no such value.
    """
    cell = json.loads(json.dumps(cell).replace("{row}", row))
    try:
        if isinstance(cell, dict):
            return _reduced(content["checks"], **cell)
        value: Any = content
        for key in ["figures", cell] if isinstance(cell, str) else cell:
            value = value[key]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ConfigError(f"record '{record.id}': {record.file} has no value {cell}") from error
    return value


def _text(value: Any, form: str) -> str:
    """Return a value as text.

    Args:
        value: The value; None gives a dash.
        form: Format for `str.format`, such as "{:.1f}".
    """
    return "-" if value is None else form.format(value)


def _reduced(checks: Sequence[dict[str, Any]], name: str, reduce: str, group: str = "") -> float:
    """Return the largest value or the sum of the checks with a name, in one group or in all.

    Args:
        checks: Checks of a verification's file, each with "group", "name" and "value".
        name: Name of the quantity: the part of a check's name after the last ": ".
        reduce: "max" or "sum".
        group: Group of the checks; "": all groups.

    Raises:
        KeyError: No check has this name in the group, or `reduce` is something else.
    """
    found = [
        check["value"]
        for check in checks
        if check["name"].split(": ")[-1] == name and group in ("", check["group"])
    ]
    if not found:
        raise KeyError(name)
    return REDUCE[reduce](found)


def _origin(record: ResultRecord, content: dict[str, Any]) -> list[str]:
    """Return the lines of the table that says when, where and from what the values come.

    Args:
        record: The record.
        content: The JSON file of the record; empty if it has none.
    """
    links = [f"[{label}](results/{path})" for label, path in record.links]
    if record.file:
        links.insert(0, f"[JSON](results/{record.file})")
    sources = [record.source] if record.source else []
    kind = "committed" if record.date_is_of_commit else "measured"
    row = {kind: record.date, "machine": record.machine}
    if "versions" in content:
        row["versions"] = _versions(content["versions"])
    row["source"] = " ".join([*sources, ", ".join(links)]).strip()
    return markdown_table(list(row), [list(row.values())]).splitlines()


def main() -> int:
    """Write docs/results.md of the checkout.

    Returns:
        The exit code: 0, or 2 after an error, which is printed to stderr.
    """
    root = share_folder()
    try:
        text = render(root / "docs" / "results")
    except (ConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    (root / PAGE).write_text(text)
    print(f"{root / PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
