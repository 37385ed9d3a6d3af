"""Matplotlib, imported when a picture is drawn: a run without it loses its pictures and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def pyplot() -> Any:
    """Return `matplotlib.pyplot`, drawing to files.

    Raises:
        ImportError: It is not installed, or does not fit the installed numpy.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def draw(work: Callable[[], str | None]) -> tuple[bool, str]:
    """Draw a picture, if the packages for it can be imported.

    Args:
        work: Draws and saves it; may return how it was made.

    Returns:
        Whether it was drawn, and how, or why not.
    """
    try:
        return True, work() or ""
    except ImportError as error:
        return False, f"{error}: pip install 'sql_ros[report]', or the distribution's package"
