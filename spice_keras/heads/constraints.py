"""What a person says of rows, as labels: known classes, and pairs that belong together or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Pairs = Sequence[Sequence[int]] | npt.NDArray[np.integer]
"""Pairs of rows. Shape: (num_pairs, 2)."""

UNKNOWN = -1
_SMALLEST = 1e-12


@dataclass
class _Component:
    """Rows that belong together."""

    rows: list[int]
    label: int = UNKNOWN
    apart: set[int] = field(default_factory=set)


def labels_from_pairs(
    prior: np.ndarray,
    known: np.ndarray,
    together: Pairs,
    apart: Pairs,
) -> npt.NDArray[np.int64]:
    """Labels of all rows that something was said about.

    Rows that belong together get one label: that of a known one among them, or the class that they
    are likeliest in together, among those that no row has that is to be apart from them. The surest
    choose first.

    Args:
        prior: Class probabilities of each row. Shape: (num_samples, K).
        known: The class of each row, -1 if it is unknown. Shape: (num_samples,).
        together: Pairs of rows of one class.
        apart: Pairs of rows of two classes.

    Returns:
        The class of each row, -1 for one that nothing was said about. Shape: (num_samples,).

    Raises:
        ValueError: If a pair names no row, or what was said contradicts itself.

    Example:
        >>> import numpy as np
        >>> prior = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
        >>> labels_from_pairs(prior, np.array([-1, -1, -1]), [(0, 1)], [(1, 2)]).tolist()
        [0, 0, 1]
    """
    known = np.asarray(known, np.int64)
    same, other = _pairs(together, len(known), "together"), _pairs(apart, len(known), "apart")
    components = _components(known, same, other)
    with np.errstate(divide="ignore"):
        scores = [
            np.log(np.maximum(prior[component.rows], _SMALLEST)).mean(axis=0)
            for component in components
        ]
    order = sorted(range(len(components)), key=lambda place: -float(scores[place].max()))
    for place in order:
        component = components[place]
        taken = {components[one].label for one in component.apart} - {UNKNOWN}
        if component.label == UNKNOWN:
            free = [k for k in range(prior.shape[1]) if k not in taken]
            if not free:
                raise ValueError(
                    f"Row {component.rows[0]} is to be apart from rows of all {prior.shape[1]} "
                    "clusters. Ask for more clusters or take a pair away."
                )
            component.label = max(free, key=lambda k: scores[place][k])
        elif component.label in taken:
            raise ValueError(
                f"Row {component.rows[0]} and a row that is to be apart from it are both of class "
                f"{component.label}."
            )
    labels = np.full(len(known), UNKNOWN, np.int64)
    for component in components:
        labels[component.rows] = component.label
    return labels


def _pairs(pairs: Pairs, count: int, name: str) -> list[tuple[int, int]]:
    found = [(int(one), int(other)) for one, other in pairs]
    if any(not 0 <= row < count for pair in found for row in pair):
        raise ValueError(f"`{name}` must hold pairs of rows from 0 to {count - 1}.")
    return found


def _components(
    known: np.ndarray, same: list[tuple[int, int]], other: list[tuple[int, int]]
) -> list[_Component]:
    """The rows something was said about, put together, with what each is apart from."""
    paired = {row for pair in same + other for row in pair}
    said = sorted(paired.union(np.flatnonzero(known != UNKNOWN).tolist()))
    root = {row: row for row in said}

    def find(row: int) -> int:
        while root[row] != row:
            root[row] = root[root[row]]
            row = root[row]
        return row

    for one, two in same:
        root[find(one)] = find(two)
    place: dict[int, int] = {}
    found: list[_Component] = []
    for row in said:
        top = find(row)
        if top not in place:
            place[top] = len(found)
            found.append(_Component([]))
        component = found[place[top]]
        component.rows.append(row)
        label = int(known[row])
        if UNKNOWN not in (label, component.label) and label != component.label:
            raise ValueError(
                f"Row {row} of class {label} is to be together with one of class {component.label}."
            )
        component.label = label if component.label == UNKNOWN else component.label
    for one, two in other:
        first, second = place[find(one)], place[find(two)]
        if first == second:
            raise ValueError(f"Rows {one} and {two} are to be both together and apart.")
        found[first].apart.add(second)
        found[second].apart.add(first)
    return found
