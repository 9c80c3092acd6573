"""Tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

_WIDTH = 80


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Writes a table to standard output, its first column to the left, no number cut.

    Args:
        header: Titles of the columns.
        rows: Strings for each.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 1), collapse_padding=True)
    for column, title in enumerate(header):
        table.add_column(title, justify="right" if column else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    width = max(Console().width, _WIDTH)  # a cut number says nothing
    Console(highlight=False, width=width).print(table)
