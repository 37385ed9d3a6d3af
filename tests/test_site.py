"""The documentation site: complete, without broken links, and nothing from the network."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import sql_ros
from sql_ros.checks.site.command_line import commands_page, launch_arguments_page
from sql_ros.checks.site.hold_kinds import holds_page, kinds_of_code
from sql_ros.checks.site.python_api import errors_page, python_page
from sql_ros.checks.site.settings import files_page, parameters_page
from sql_ros.checks.site.topics import topics_page, used_names
from sql_ros.cli.commands import COMMANDS
from sql_ros.common import errors
from sql_ros.common.config import Config, options_of
from sql_ros.common.data_files import share_folder
from sql_ros.common.errors import ConfigError
from sql_ros.experiments.training import RunConfig
from sql_ros.nodes.declared import CONFIGS, declared_by
from sql_ros.stack.arguments import SAWYER_STACK_ARGUMENTS

ROOT = share_folder()
FOREIGN = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*(?:src|href)=\"(?:https?:)?//[^\"]*"
)
TARGET = re.compile(r"(?:href|src)=\"([^\"#?]*)(?:#[^\"]*)?\"")


def test_every_command_and_option_is_on_the_page():
    page = commands_page(each.parser() for each in COMMANDS)
    for command in COMMANDS:
        assert f"## sql-ros {command.name}\n" in page
        for action in command.parser()._actions:
            if action.dest != "help" and action.help != argparse.SUPPRESS:
                assert all(name in page for name in action.option_strings)


def test_an_argument_without_a_description_fails_the_build():
    parser = argparse.ArgumentParser(prog="sql-ros new")
    parser.add_argument("--silent")
    with pytest.raises(ConfigError, match="sql-ros new: argument '--silent SILENT' has no help"):
        commands_page([parser])


def test_every_launch_argument_is_on_the_page():
    page = launch_arguments_page()
    assert all(f"<code>{each.name}:=</code>" in page for each in SAWYER_STACK_ARGUMENTS)


def test_every_parameter_is_on_the_page():
    page = parameters_page()
    for node in CONFIGS:
        assert f"## {node}\n" in page
        assert all(f"<code>{name}</code>" in page for name in declared_by(node))


def _configs(cls: type[Config]) -> set[type[Config]]:
    """Return the config classes of the package below a class."""
    below = {found for each in cls.__subclasses__() for found in _configs(each)}
    return {each for each in below | {cls} if each.__module__.startswith("sql_ros.")}


def test_every_key_of_a_file_or_parameter_is_on_a_page():
    for path in (ROOT / "sql_ros").rglob("*.py"):
        if "(Config)" in path.read_text():
            import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    pages = files_page(RunConfig) + parameters_page()
    for cls in _configs(Config):
        missing = [field.name for field in options_of(cls) if f"{field.name}</code>" not in pages]
        assert missing == [], cls


def test_every_kind_of_hold_is_on_the_page():
    page = holds_page(ROOT)
    assert all(f"| `{kind}` |" in page for kind in kinds_of_code(ROOT))


def test_every_topic_and_service_is_on_the_page():
    page = topics_page(ROOT)
    used = used_names(ROOT)
    assert len(used["topics"]) > 10
    assert all(f"| `{name}` |" in page for kind in used.values() for name in kind)


def test_a_topic_that_no_page_describes_fails_the_build(tmp_path):
    (tmp_path / "config/security").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    policy = "config/security/sawyer_stack.policy.xml"
    (tmp_path / policy).write_text((ROOT / policy).read_text())
    text = (ROOT / "docs/stack.md").read_text()
    (tmp_path / "docs/stack.md").write_text(text.replace("| `policy` |", "| `other` |"))
    with pytest.raises(ConfigError, match=r"'/policy' of .* is not in docs/stack\.md"):
        topics_page(tmp_path)


def test_every_public_name_is_on_the_page():
    page = python_page()
    assert all(f"::: {module}.{name}\n" in page for name, module in sql_ros.PUBLIC.items())


def test_a_public_method_without_a_docstring_fails_the_build(monkeypatch):
    monkeypatch.setattr(sql_ros.Policy, "undescribed", lambda self: None, raising=False)
    with pytest.raises(ConfigError, match=r"without a docstring: Policy\.undescribed"):
        python_page()


def test_every_error_is_on_the_page():
    page = errors_page()
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, Exception):
            assert f"::: sql_ros.common.errors.{name}\n" in page


def _build(source: Path, site: Path) -> subprocess.CompletedProcess:
    """Build the site of a checkout."""
    words = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(site)]
    return subprocess.run(
        words, cwd=source, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("mkdocs", reason="not run: pip install 'sql_ros[docs]'")
    folder = tmp_path_factory.mktemp("site") / "site"
    result = _build(ROOT, folder)
    assert result.returncode == 0, result.stdout
    return folder


@pytest.mark.long
@pytest.mark.xdist_group("site")
def test_no_page_loads_anything_from_the_network(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    assert {
        page.name: FOREIGN.findall(page.read_text())
        for page in pages
        if FOREIGN.search(page.read_text())
    } == {}


@pytest.mark.long
@pytest.mark.xdist_group("site")
def test_every_link_of_the_site_leads_to_a_file(site):
    for page in site.rglob("*.html"):
        for target in TARGET.findall(page.read_text()):
            if page.name != "404.html" and target and ":" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(site)}: {target}"


@pytest.mark.long
@pytest.mark.xdist_group("site")
def test_lists_and_code_blocks_are_recognised(site):
    """Python-Markdown wants an empty line before a list, and GitHub does not."""
    for page in site.rglob("*.html"):
        text = re.sub(r"<(pre|code)\b.*?</\1>", "", page.read_text(), flags=re.DOTALL)
        paragraphs = re.findall(r"<p>(.*?)</p>", text, re.DOTALL)
        assert not [each for each in paragraphs if re.search(r"^(- |1\. )", each, re.MULTILINE)]
        assert "```" not in text, page


@pytest.mark.long
@pytest.mark.xdist_group("site")
def test_a_broken_link_fails_the_build(site, tmp_path):
    for name in ("docs", "config", "sql_ros"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("mkdocs.yml", "CONTRIBUTING.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "docs").unlink()
    (tmp_path / "docs").mkdir()
    for path in (ROOT / "docs").iterdir():
        (tmp_path / "docs" / path.name).symlink_to(path)
    (tmp_path / "docs/resume.md").unlink()
    (tmp_path / "docs/resume.md").write_text("# Resume\n\n[gone](stack.md#gone)\n")
    result = _build(tmp_path, tmp_path / "site")
    assert result.returncode == 1
    assert "stack.md#gone" in result.stdout
