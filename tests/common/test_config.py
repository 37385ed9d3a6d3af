"""What a configuration accepts, and what its errors say."""

from dataclasses import dataclass

import pytest

from sql_ros.common.config import (
    Config,
    config_from_mapping,
    config_from_yaml,
    fixed,
    option,
    options_of,
)
from sql_ros.common.errors import ConfigError


@dataclass(frozen=True)
class _Example(Config):
    rate_hz: float = option(20.0, "a rate", minimum=0.1, maximum=100.0)
    sizes: tuple[int, ...] = option((1, 2), "sizes", minimum=1)
    kind: str = option("a", "a kind", choices=("a", "b"))
    flag: bool = option(False, "a flag")


@dataclass(frozen=True)
class _Narrower(_Example):
    kind: str = fixed("b")


def test_a_fixed_field_has_its_value_and_is_no_option():
    assert config_from_mapping(_Narrower, {"rate_hz": 50}, "here").kind == "b"
    assert [field.name for field in options_of(_Narrower)] == ["rate_hz", "sizes", "flag"]
    with pytest.raises(ConfigError, match="here: unknown key 'kind'"):
        config_from_mapping(_Narrower, {"kind": "a"}, "here")


def test_whole_numbers_are_taken_for_floats_and_lists_for_tuples():
    config = config_from_mapping(_Example, {"rate_hz": 50, "sizes": [3, 4]}, "here")
    assert (config.rate_hz, config.sizes) == (50.0, (3, 4))
    assert isinstance(config.rate_hz, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 1.0}, "here: unknown key 'rate', expected one of: flag, kind, rate_hz, sizes"),
        ({"rate_hz": 1000.0}, "here: 'rate_hz' must be at most 100.0, got 1000.0"),
        ({"rate_hz": 0}, "here: 'rate_hz' must be at least 0.1, got 0.0"),
        ({"rate_hz": float("nan")}, "here: 'rate_hz' must be finite, got nan"),
        ({"rate_hz": "fast"}, "here: 'rate_hz' must be of type float, got 'fast' (str)"),
        ({"rate_hz": True}, "here: 'rate_hz' must be of type float, got True (bool)"),
        ({"sizes": [1, 0]}, "here: 'sizes' must be at least 1, got 0"),
        ({"sizes": 3}, "here: 'sizes' must be a list, got 3"),
        ({"kind": "c"}, "here: 'kind' must be one of a, b, got 'c'"),
        ({"flag": 1}, "here: 'flag' must be of type bool, got 1 (int)"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(values, message):
    with pytest.raises(ConfigError) as error:
        config_from_mapping(_Example, values, "here")
    assert str(error.value) == message


def test_a_file_that_is_not_yaml_is_one_readable_line(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("a: [1, 2\nb: }")
    with pytest.raises(ConfigError, match=r"broken\.yaml is not YAML") as error:
        config_from_yaml(_Example, path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("rate_hz: 1\nkind: a\nrate_hz: 2\n", 3, "rate_hz"),
        ("{kind: a, kind: b}\n", 1, "kind"),
        ("sizes: [1]\nouter:\n  - {x: 1}\n  - x: 1\n    y: 2\n    x: 3\n", 6, "x"),
    ],
)
def test_a_key_that_is_there_twice_is_refused(tmp_path, text, line, key):
    """YAML readers take the last one, and a limit would be lost in silence."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"config\.yaml, line {line}: key '{key}' is also in"):
        config_from_yaml(_Example, path)
