"""Matplotlib, imported when a picture is drawn. Without it a run lacks nothing but pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

DPI = 110  # resolution of all figures


def pyplot() -> Any:
    """Return the module `matplotlib.pyplot`, with the backend Agg, which draws to files.

    Raises:
        ImportError: Matplotlib is not installed, or does not fit the installed numpy.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def tidy(axes: Any, grid: str = "both") -> None:
    """Add a pale grid behind the data, and remove the upper and the right border.

    Args:
        axes: Axes of a figure.
        grid: Lines of the grid: "both", or of one axis alone, "x" or "y".
    """
    axes.grid(alpha=0.25, axis=grid)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save_figure(figure: Any, path: Path) -> str:
    """Write a figure to a PNG file, and close the figure.

    Args:
        figure: The figure.
        path: Path of the file; its folder is made.

    Returns:
        The name of the file without its folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    pyplot().close(figure)
    return path.name


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
