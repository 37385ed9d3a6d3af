"""Whole numbers of a command line, for argparse."""

from __future__ import annotations

import argparse


def natural(text: str) -> int:
    """From 0 on."""
    return _from(0, text)


def positive(text: str) -> int:
    """From 1 on."""
    return _from(1, text)


def _from(least: int, text: str) -> int:
    value = int(text)
    if value < least:
        raise argparse.ArgumentTypeError(f"{value}, expected {least} or more")
    return value
