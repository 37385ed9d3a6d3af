"""Types of numbers on a command line, for `argparse`."""

from __future__ import annotations

import argparse
import math


def natural(text: str) -> int:
    """Return a text as a whole number from 0.

    Raises:
        argparse.ArgumentTypeError: The number is negative.
        ValueError: The text is not a whole number.
    """
    return _whole(text, 0)


def positive(text: str) -> int:
    """Return a text as a whole number from 1.

    Raises:
        argparse.ArgumentTypeError: The number is below 1.
        ValueError: The text is not a whole number.
    """
    return _whole(text, 1)


def positive_real(text: str) -> float:
    """Return a text as a finite number above 0.

    Raises:
        argparse.ArgumentTypeError: The number is not finite, or not above 0.
        ValueError: The text is not a number.
    """
    value = float(text)
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f"{text}, expected a number above 0")
    return value


def _whole(text: str, least: int) -> int:
    """Return a text as a whole number, checked against its smallest allowed value `least`.

    Raises:
        argparse.ArgumentTypeError: The number is smaller.
        ValueError: The text is not a whole number.
    """
    value = int(text)
    if value < least:
        raise argparse.ArgumentTypeError(f"{value}, expected {least} or more")
    return value
