"""A panel on a terminal that is updated in place, drawn by `rich`."""

from __future__ import annotations

from rich import panel
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text


class Panel:
    """A frame with names and values on the terminal of stdout; text is shown without markup."""

    def __init__(self) -> None:
        self._live = Live(console=Console(), auto_refresh=False, transient=False)
        self._live.start()

    def show(self, title: str, rows: list[tuple[str, str]]) -> None:
        """Replace the content of the panel.

        Args:
            title: Text in the upper edge of the frame.
            rows: Name and value of each row.
        """
        table = Table.grid(padding=(0, 2))
        for name, value in rows:
            table.add_row(Text(name, style="dim"), Text(value))
        self._live.update(panel.Panel(table, title=Text(title), expand=False), refresh=True)

    def close(self) -> None:
        """Stop updating; the last content stays on the terminal."""
        self._live.stop()
