"""Markdown tables for reports and terminals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[int] = ()
) -> str:
    """Return a Markdown table without padding and without a newline at its end.

    Args:
        header: Column titles.
        rows: Cells of each row, one per column; `str` converts them.
        right: Indices of the columns that are aligned to the right; the others state no alignment.
    """
    columns = set(right)
    rules = ["--:" if index in columns else "---" for index in range(len(header))]
    lines = [_line(header), f"|{'|'.join(rules)}|"]
    return "\n".join([*lines, *(_line([str(cell) for cell in row]) for row in rows)])


def padded_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are padded, to be read in a terminal.

    The first column is aligned to the left, the others to the right.

    Args:
        header: Column titles.
        rows: Cells of each row, one per column.
    """
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    cells = [
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        for row in table
    ]
    return "\n".join(_line(row) for row in [cells[0], rule, *cells[1:]])


def _line(cells: Sequence[str]) -> str:
    """Return the line of a row of cells."""
    return f"| {' | '.join(cells)} |"
