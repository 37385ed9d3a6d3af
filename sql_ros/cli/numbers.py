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
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value}, expected 0 or more")
    return value


def positive(text: str) -> int:
    """A whole number from 1.

    Raises:
        argparse.ArgumentTypeError: it is below.
        ValueError: it is none.
    """
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value}, expected 1 or more")
    return value


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
