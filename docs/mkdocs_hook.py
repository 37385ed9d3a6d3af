"""Hook of mkdocs: adds the reference pages, and adapts the pages of docs/ to the site."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from sql_ros.checks.site.command_line import commands_page, launch_arguments_page
from sql_ros.checks.site.hold_kinds import holds_page
from sql_ros.checks.site.python_api import errors_page, python_page
from sql_ros.checks.site.settings import files_page, parameters_page
from sql_ros.checks.site.topics import topics_page
from sql_ros.cli.commands import COMMANDS
from sql_ros.common.errors import ConfigError
from sql_ros.experiments.training import RunConfig

ROOT = Path(__file__).parents[1]
PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": lambda: commands_page(each.parser() for each in COMMANDS),
    "reference/launch_arguments.md": launch_arguments_page,
    "reference/parameters.md": parameters_page,
    "reference/topics.md": lambda: topics_page(ROOT),
    "reference/holds.md": lambda: holds_page(ROOT),
    "reference/files.md": lambda: files_page(RunConfig),
    "reference/python.md": python_page,
    "reference/errors.md": errors_page,
    "architecture.md": (ROOT / "CONTRIBUTING.md").read_text,
}
MOVED = {"CONTRIBUTING.md": "architecture.md", "README.md": "index.md"}  # of the repository
LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are generated from the code.

    Args:
        files: Files of the site.
        config: Configuration of mkdocs.

    Raises:
        PluginError: A part of the code is not documented.
    """
    for path, page in PAGES.items():
        try:
            files.append(File.generated(config, path, content=page()))
        except ConfigError as error:
            raise PluginError(f"{path}: {error}") from error
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Return the text of a page with links that lead somewhere in the site.

    Args:
        markdown: Text as it is in the repository.
        page: The page.
        config: Configuration of mkdocs.
        files: Files of the site. Files of the repository that the page links to are added.
    """
    path = page.file.src_uri
    written_at = "CONTRIBUTING.md" if path == "architecture.md" else f"docs/{path}"

    def adapted(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(written_at), match[1]))
        inside = _in_site(target, config, files)
        if inside is None:
            return "]"
        return f"]({posixpath.relpath(inside, posixpath.dirname(path) or '.')}{match[2] or ''})"

    # the walkthroughs tell their test more on the line of a code block, "bash until: dry run"
    plain = re.sub(r"^(```\w+) .*$", r"\1", markdown, flags=re.MULTILINE)
    return LINK.sub(adapted, plain)


def _in_site(target: str, config: Any, files: Files) -> str | None:
    """Return the path in the site of a file of the repository; None: a folder, which has no page.

    Args:
        target: Path of the file, from the folder of the repository.
        config: Configuration of mkdocs.
        files: Files of the site, to which files outside of docs/ are added.
    """
    if target in MOVED:
        return MOVED[target]
    if (ROOT / target).is_dir():
        return None
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    inside = f"source/{target}"
    if files.get_file_from_path(inside) is None and (ROOT / target).is_file():
        files.append(File.generated(config, inside, abs_src_path=str(ROOT / target)))
    return inside
