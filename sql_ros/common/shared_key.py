"""The key file that the processes of one system share, readable only by its owner."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from sql_ros.common.errors import ConfigError

KEY_BYTES = 32  # as many as the digest of SHA-256 has


def make_key(path: Path) -> None:
    """Write a new random key in hexadecimal digits to a new file with mode 0600.

    Args:
        path: Path of the file; its folder is made.

    Raises:
        ConfigError: The file exists already, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
    except FileExistsError:
        raise ConfigError(
            f"{path} exists already: its users would not accept another key"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot write a key to {path}: {error}") from None


def read_key(path: Path) -> bytes:
    """Return the key in a file (32 bytes).

    Raises:
        ConfigError: The file cannot be read, contains no key, or has a mode that lets users other
            than its owner access it.
    """
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # a NUL in the path
        raise ConfigError(
            f"cannot read the key file {path}: {error}; 'sql-ros keygen {path}' makes one"
        ) from None
    if mode & 0o077:
        raise ConfigError(
            f"the key file {path} has mode {mode & 0o777:04o}, so that others can use it: chmod 600"
            f" {path}"
        )
    try:
        key = bytes.fromhex(content.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"{path} holds no key, which is {2 * KEY_BYTES} hexadecimal digits: 'sql-ros keygen'"
            " makes one"
        )
    return key
