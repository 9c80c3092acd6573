"""Tables with a row for each item, as CSV or Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spice_keras.extras import require_extra
from spice_keras.files import atomic_file, write_csv
from spice_keras.options import TableFormat

_ROWS = 4096

Column = np.ndarray
"""One value a row. A masked value is an empty cell, or null in Parquet."""


def refuse_missing_pyarrow() -> None:
    """Refuse to write Parquet without pyarrow.

    Raises:
        UserError: If it is not installed.
    """
    require_extra(
        "parquet", "pyarrow", purpose="A Parquet table", otherwise="write CSV: --format csv"
    )


def write_table(path: Path, columns: Mapping[str, Column], table: TableFormat) -> None:
    """Write a table; it appears whole, or not at all.

    Args:
        path: The file.
        columns: Arrays of n rows, by the name of the column.
        table: CSV or Parquet. Parquet keeps the types and all digits, and needs pyarrow.

    Raises:
        UserError: If pyarrow is missing.
    """
    if table == "csv":
        write_csv(path, tuple(columns), csv_rows(columns))
        return
    refuse_missing_pyarrow()
    import pyarrow
    import pyarrow.parquet

    text = pyarrow.string()  # of no rows the type cannot be seen
    arrays = {
        name: pyarrow.array(column, text if column.dtype.kind == "O" and not len(column) else None)
        for name, column in columns.items()
    }
    with atomic_file(path) as file:
        pyarrow.parquet.write_table(pyarrow.table(arrays), file)


def csv_rows(columns: Mapping[str, Column]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a CSV table.

    Args:
        columns: Arrays of n rows, by the name of the column.

    Yields:
        The cells of a row: six digits after the point, and 1 or 0 for yes or no.
    """
    for start in range(0, max(map(len, columns.values()), default=0), _ROWS):
        rows = slice(start, start + _ROWS)
        yield from zip(*(_as_text(column[rows]) for column in columns.values()), strict=True)


def _as_text(column: Column) -> list[Any]:
    if column.dtype.kind == "f":
        return [f"{value:.6f}" for value in column]
    values: list[Any] = (column.astype(int) if column.dtype.kind == "b" else column).tolist()
    return values
