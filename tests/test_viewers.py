"""The files for RViz and Foxglove: their topics and services are those of a stack or a driver."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
import yaml

from sql_ros.checks.site.topics import used_names
from sql_ros.common.data_files import share_folder

ROOT = share_folder()
OF_DRIVERS = {"/robot_description", "/tf", "/tf_static"}


def _texts(content: object) -> Iterator[str]:
    """Yield all keys and values of nested mappings and lists that are texts."""
    match content:
        case str():
            yield content
        case dict():
            for key, value in content.items():
                yield from _texts(key)
                yield from _texts(value)
        case list():
            for value in content:
                yield from _texts(value)


def _rviz() -> object:
    return yaml.safe_load((ROOT / "config/rviz/sql_ros.rviz").read_text())


def _foxglove() -> dict:
    return json.loads((ROOT / "config/foxglove/sql_ros.json").read_text())


@pytest.mark.parametrize("read", [_rviz, _foxglove], ids=["rviz", "foxglove"])
def test_topics_and_services_of_a_view_exist(read):
    used = used_names(ROOT)
    shown = {re.split(r"\.", text)[0] for text in _texts(read()) if text.startswith("/")}
    assert len(shown) >= 3
    assert shown - set(used["topics"]) - set(used["services"]) - OF_DRIVERS == set()


def test_each_panel_of_the_foxglove_layout_has_settings():
    layout = _foxglove()
    panels = {text for text in _texts(layout["layout"]) if "!" in text}
    assert panels == set(layout["configById"])
