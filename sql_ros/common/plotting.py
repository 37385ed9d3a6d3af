"""Matplotlib, imported when a picture is drawn. Without it a run lacks nothing but pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def pyplot() -> Any:
    """Return the module `matplotlib.pyplot`, with the backend Agg, which draws to files.

    Raises:
        ImportError: Matplotlib is not installed, or does not fit the installed numpy.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def try_plot(work: Callable[[], str | None]) -> tuple[bool, str]:
    """Draw a picture, if the packages for it can be imported.

    Args:
        work: Draws and saves the picture; may return a text about how the picture was made. `work`
            raises ImportError if a package is missing.

    Returns:
        Whether the picture was drawn, and a text: how it was made ("" if `work` returns none), or
        why it was not drawn.
    """
    try:
        return True, work() or ""
    except ImportError as error:
        return False, f"{error}: pip install 'sql_ros[report]', or the distribution's package"
