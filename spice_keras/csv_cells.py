"""Cells of CSV files that a spreadsheet would otherwise run.

Names of files, classes and words come from strangers. A spreadsheet takes a cell that begins with
`=`, `+`, `-` or `@` for a formula, whatever quotes stand around it in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

# The last four are what some versions read as the first four.
_RUN = re.compile(r"'*[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def escaped_cell(value: Any) -> Any:
    """Put an apostrophe before a text that a spreadsheet would run.

    Args:
        value: A cell. Numbers, and texts that are plain numbers, stay as they are.

    Returns:
        The cell; `plain_cell` takes the apostrophe away again.

    Example:
        >>> escaped_cell("=1+1"), escaped_cell("-0.5"), escaped_cell("cat.png")
        ("'=1+1", '-0.5', 'cat.png')
    """
    if not isinstance(value, str) or not _RUN.match(value) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def plain_cell(text: str) -> str:
    """Undo `escaped_cell` for a cell that was read from a file.

    Args:
        text: The cell.

    Returns:
        The text that was written.

    Example:
        >>> plain_cell("'=1+1")
        '=1+1'
    """
    return text[1:] if text.startswith("'") and _RUN.match(text) else text


def escaped_rows(rows: Iterable[Iterable[Any]]) -> Iterator[list[Any]]:
    """Escape every cell of some rows.

    Args:
        rows: Rows of cells.

    Yields:
        The rows, as lists.
    """
    for row in rows:
        yield [escaped_cell(cell) for cell in row]
