"""`sql-ros keygen`: make the key file with which the processes of a stack sign their messages."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "file",
        type=Path,
        help="the new file, readable only for you; an existing file is not changed",
    )


def run(args: argparse.Namespace) -> int:
    """Write a new random key to the file, which only its owner may read.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: The file exists, or cannot be written.
    """
    from sql_ros.common.shared_key import make_key

    make_key(args.file)
    print(f"{args.file}: use it in every stack that must trust this one, key_file:={args.file}")
    return 0
