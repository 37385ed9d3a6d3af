"""A report as one HTML file."""

from __future__ import annotations

import base64
import re

from sql_ros.common.html_report import write_html

PNG = b"\x89PNG\r\n\x1a\n picture"
REPORT = """# Reach, seed 0

![curves](curves.png) ![elsewhere](../other.png)

| figure | value |
|---|---|
| success | 0.95 |

<script>alert(1)</script>
"""


def _html(folder) -> str:
    run = folder / "run"
    run.mkdir()
    (run / "curves.png").write_bytes(PNG)
    (folder / "other.png").write_bytes(PNG)
    (run / "report.md").write_text(REPORT)
    assert write_html(run / "report.md")
    return (run / "report.html").read_text()


def test_pictures_of_the_folder_are_inside_the_file(tmp_path):
    (content,) = re.findall(r"data:image/png;base64,([\w+/=]+)", _html(tmp_path))
    assert base64.b64decode(content) == PNG


def test_a_table_is_a_table_and_html_is_text(tmp_path):
    page = _html(tmp_path)
    assert "<td>0.95</td>" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
