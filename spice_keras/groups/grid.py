"""Which numbers of clusters to try, and which the data cannot tell apart."""

from __future__ import annotations

import numpy as np

from spice_keras.errors import UserError

EVERY_NUMBER_UP_TO = 12
USUAL_LARGEST = 30
ITEMS_PER_CLUSTER = 10  # five on each half, on average
_STEP = 1.16


def cluster_grid(smallest: int, largest: int) -> tuple[int, ...]:
    """List the numbers of clusters to try: every one up to 12, then geometric steps.

    Args:
        smallest: The first, at least 2.
        largest: The last.

    Returns:
        Numbers that ascend, both ends among them.

    Raises:
        UserError: If the range is upside down or has a single number.

    Example:
        >>> cluster_grid(9, 30)
        (9, 10, 11, 12, 14, 16, 19, 22, 26, 30)
    """
    if smallest < 2 or largest <= smallest:
        raise UserError(
            "Expected a range of numbers of clusters that begins at 2 or above and ends above its "
            f"beginning (--from, --to). Received: from {smallest} to {largest}."
        )
    grid = list(range(smallest, min(largest, EVERY_NUMBER_UP_TO) + 1)) or [smallest]
    while grid[-1] < largest:
        grid.append(min(largest, max(grid[-1] + 1, round(_STEP * grid[-1]))))
    return tuple(grid)


def usual_largest(num_items: int) -> int:
    """Choose the largest number of clusters to try if nobody names one: 30, fewer for few items."""
    return min(USUAL_LARGEST, num_items // ITEMS_PER_CLUSTER)


def check_grid(largest: int, rows: np.ndarray) -> None:
    """Refuse a range that the data cannot answer.

    Args:
        largest: The largest number of clusters to try.
        rows: Unit rows, as clusters see them. Shape: (num_items, dim).

    Raises:
        UserError: If the rows are all the same, or there are too few of them.
    """
    distinct = len(np.unique(rows.round(6), axis=0))
    if distinct == 1:
        raise UserError(
            f"All {len(rows)} rows of the features point in the same direction, so there is "
            "nothing to group; check the encoder."
        )
    if largest > distinct:
        raise UserError(
            f"There cannot be more clusters than distinct items: expected at most {distinct} "
            f"(--to). Received: {largest}."
        )
    if largest > len(rows) // ITEMS_PER_CLUSTER:
        raise UserError(
            f"The range is too fine for the data: each cluster needs {ITEMS_PER_CLUSTER} items, "
            f"so {len(rows)} items can show at most {len(rows) // ITEMS_PER_CLUSTER} clusters "
            f"(--to). Received: {largest}."
        )
