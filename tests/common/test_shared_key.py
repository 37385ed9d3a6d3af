"""The key file: made once, for its owner alone."""

import pytest

from sql_ros.common.errors import ConfigError
from sql_ros.common.shared_key import KEY_BYTES, make_key, read_key


def test_a_key_is_random_and_for_its_owner_alone(tmp_path):
    first, second = tmp_path / "deep" / "first", tmp_path / "second"
    make_key(first)
    make_key(second)
    assert first.stat().st_mode & 0o777 == 0o600
    assert len(read_key(first)) == KEY_BYTES
    assert read_key(first) != read_key(second)


def test_a_key_that_is_there_is_left_as_it_is(tmp_path):
    make_key(tmp_path / "key")
    before = read_key(tmp_path / "key")
    with pytest.raises(ConfigError, match="exists already"):
        make_key(tmp_path / "key")
    assert read_key(tmp_path / "key") == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_key_that_others_can_use_is_not_used(tmp_path, mode):
    make_key(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_key(tmp_path / "key")


@pytest.mark.parametrize("content", [b"", b"12", b"z" * 64, b"\xff" * 64, b"00" * 33])
def test_what_is_no_key_is_said_to_be_none(tmp_path, content):
    make_key(tmp_path / "key")
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError, match="holds no key"):
        read_key(tmp_path / "key")


def test_a_missing_key_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError, match="sql-ros keygen"):
        read_key(tmp_path / "key")
