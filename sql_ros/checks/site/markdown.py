"""Texts of the code as Markdown of the site."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sql_ros.common.markdown import markdown_table

SIGNS = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "*": "&#42;"})


def cell(text: object) -> str:
    """Return a text for a cell of a table: in one line, with the signs of HTML and tables escaped.

    Args:
        text: Any object; `str` converts it.
    """
    return " ".join(str(text).split()).translate(SIGNS)


def code(text: object) -> str:
    """Return a text in the style of code for a cell of a table; an empty text stays empty."""
    return f"<code>{cell(text)}</code>" if str(text) else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table with an empty line before and after it."""
    return f"\n{markdown_table(header, rows)}\n"
