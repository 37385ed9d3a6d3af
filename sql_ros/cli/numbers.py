"""Numbers on a command line: those that cannot be are refused before anything begins."""

from __future__ import annotations

import argparse
import math


def natural(text: str) -> int:
    """A whole number from 0.

    Raises:
        argparse.ArgumentTypeError: it is below.
        ValueError: it is none.
    """
    return _whole(text, 0)


def positive(text: str) -> int:
    """A whole number from 1.

    Raises:
        argparse.ArgumentTypeError: it is below.
        ValueError: it is none.
    """
    return _whole(text, 1)


def positive_real(text: str) -> float:
    """A finite number above 0.

    Raises:
        argparse.ArgumentTypeError: it is not.
        ValueError: it is no number.
    """
    value = float(text)
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f"{text}, expected a number above 0")
    return value


def _whole(text: str, least: int) -> int:
    value = int(text)
    if value < least:
        raise argparse.ArgumentTypeError(f"{value}, expected {least} or more")
    return value
