"""The key that the processes of one system share: a file that nobody else can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from sql_ros.core.errors import ConfigError

KEY_BYTES = 32  # as many as the digest of SHA-256 has


def make_key(path: Path) -> None:
    """Writes a new key, in hex, mode 0600.

    Raises:
        ConfigError: the file is there already, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
    except FileExistsError:
        raise ConfigError(f"{path} is there already: whoever uses it would be locked out by another one") from None
    except OSError as error:
        raise ConfigError(f"cannot write a key to {path}: {error}") from None


def read_key(path: Path) -> bytes:
    """The key in a file.

    Raises:
        ConfigError: it is missing, no key, or others may read it.
    """
    try:
        mode, content = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the key file {path}: {error}; 'sql-ros keygen {path}' makes one") from None
    if mode & 0o077:
        raise ConfigError(f"the key file {path} has mode {mode & 0o777:04o}, so that others can use it: chmod 600 {path}")
    try:
        key = bytes.fromhex(content.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path} holds no key, which is {2 * KEY_BYTES} hexadecimal digits: 'sql-ros keygen' makes one")
    return key
