"""`sql-ros keygen`: make the key file that the processes of one system share."""

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
    """Write a new key file; return exit code 0.

    Raises:
        ConfigError: The file exists, or cannot be written.
    """
    from sql_ros.common.shared_key import make_key

    make_key(args.file)
    print(f"{args.file}: use it in every stack that must trust this one, key_file:={args.file}")
    return 0
