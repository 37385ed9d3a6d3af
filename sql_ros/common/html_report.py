"""A Markdown report as one HTML file, with its pictures inside."""

from __future__ import annotations

import base64
import html
import mimetypes
from pathlib import Path
from typing import Any

from sql_ros.common.atomic_file import write_atomically

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
img { max-width: 100%; }
table { border-collapse: collapse; }
td, th { border: 1px solid #ccc; padding: 0.2rem 0.6rem; text-align: left; }
pre, code { background: #f3f3f3; overflow-wrap: anywhere; white-space: pre-wrap; }
"""


def write_html(report: Path) -> bool:
    """Write a report as HTML beside its Markdown file: report.html beside report.md.

    Pictures of the report's folder are embedded, so that the file can be sent and opened anywhere.
    HTML in the Markdown is shown as text.

    Args:
        report: The Markdown file.

    Returns:
        Whether the file was written; not if markdown-it-py is not installed.

    Raises:
        OSError: A file cannot be read or written.
    """
    try:
        from markdown_it import MarkdownIt
    except ImportError:
        report.with_suffix(".html").unlink(missing_ok=True)  # one of an earlier report
        return False
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(report.read_text())
    for token in tokens:
        for child in token.children or ():
            if child.type == "image":
                _embed(child, report.parent)
    body = parser.renderer.render(tokens, parser.options, {})
    title = html.escape(report.resolve().parent.name)
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n"
    )
    write_atomically(report.with_suffix(".html"), page.encode())
    return True


def _embed(image: Any, folder: Path) -> None:
    """Replace the path of an image by its content, if the file is in the folder; in place.

    Args:
        image: Token of markdown-it.
        folder: Folder of the report.
    """
    path = folder / str(image.attrs["src"])
    if path.resolve().parent == folder.resolve() and path.is_file():
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        content = base64.b64encode(path.read_bytes()).decode()
        image.attrs["src"] = f"data:{kind};base64,{content}"
