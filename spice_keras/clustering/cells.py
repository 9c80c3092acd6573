"""Cells of the sphere: groups of near rows, compared with those of near cells by matrix products.

An inverted list that is searched query by query waits for memory. Here the rows of a cell are the
queries of one product, and the rows of the cells near it the columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from spice_keras.clustering.neighbors import (
    in_threads,
    largest_of_rows,
    led_by_themselves,
)
from spice_keras.scratch import give_back

ROWS_PER_CELL = 250
_FITTED_PER_CELL, _ROUNDS = 40, 8  # rows that k-means sees for each cell, and how often
_ASSIGNED = 1024  # rows assigned to cells at a time
_MEANS = 512  # cells whose means are taken at a time
_PART = 64  # rows of a cell selected from at a time, while the processor's cache holds them
_DEVICE = "CPU:0"


@dataclass(frozen=True, eq=False)
class Cells:
    """Rows sorted by cell.

    Attributes:
        centers: Unit vector of each cell, float32 [C, D].
        cell_of: Cell of each row, int32 [N].
        rows: Unit rows, float32 [N, D], as they were given.
        order: Row numbers, those of a cell behind one another, int32 [N].
        starts: Where each cell begins, and the end, int64 [C + 1].
    """

    centers: np.ndarray
    cell_of: np.ndarray
    rows: np.ndarray
    order: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.centers)

    def sizes(self) -> npt.NDArray[np.int64]:
        """How many rows each cell has, [C]."""
        return np.diff(self.starts)

    def probes_for(self, recall: float, samples: np.ndarray, neighbors: np.ndarray) -> int:
        """How many cells to look into, such that enough of some rows' neighbours lie there.

        Args:
            recall: Share of the neighbours, above 0 and at most 1.
            samples: Rows whose nearest neighbours are known. Shape: (num_known,).
            neighbors: Theirs. Shape: (num_known, num_neighbors).

        Returns:
            Between 1 and the number of cells.
        """
        ranks = np.empty(neighbors.shape, np.int64)
        place = np.empty(len(self), np.int64)
        for number, (cell, theirs) in enumerate(
            zip(self.cell_of[samples], self.cell_of[neighbors], strict=True)
        ):
            place[np.argsort(-self._nearness(cell), kind="stable")] = np.arange(len(self))
            ranks[number] = place[theirs]
        needed = int(np.ceil(recall * ranks.size)) - 1
        return 1 + int(np.partition(ranks.ravel(), needed)[needed])

    def neighbors(self, num_neighbors: int, num_probes: int) -> npt.NDArray[np.int32]:
        """The nearest neighbours of every row among the rows of the nearest cells.

        Args:
            num_neighbors: n_s, the row itself included; at most N.
            num_probes: Cells looked into, the row's own included; more if they hold too few rows.

        Returns:
            Row numbers, most similar first. Shape: (N, num_neighbors).
        """
        found = np.empty((len(self.rows), num_neighbors), np.int32)

        def search(cell: int) -> None:
            first, last = int(self.starts[cell]), int(self.starts[cell + 1])
            if first == last:
                return
            near = self._near(cell, num_probes, num_neighbors)
            inside = np.concatenate([self.order[slice(*self.starts[c : c + 2])] for c in near])
            with tf.device(_DEVICE):
                columns = tf.convert_to_tensor(self.rows[inside])
                for start in range(first, last, _PART):
                    own = self.order[start : min(start + _PART, last)]
                    rows = tf.convert_to_tensor(self.rows[own])
                    cosines = tf.matmul(rows, columns, transpose_b=True).numpy()
                    best = inside[largest_of_rows(cosines, num_neighbors)]
                    found[own] = led_by_themselves(best, own)

        in_threads(search, range(len(self)))
        give_back(self.rows)
        return found

    def _near(self, cell: int, num_probes: int, num_neighbors: int) -> npt.NDArray[np.int64]:
        """The cells to look into for a cell, itself among them, in the order of their numbers."""
        nearness, sizes = self._nearness(cell), self.sizes()
        probes = min(num_probes, len(self))
        while True:
            near = np.argpartition(-nearness, probes - 1)[:probes]
            if probes == len(self) or sizes[near].sum() >= num_neighbors:
                return np.sort(near)
            probes = min(2 * probes, len(self))

    def _nearness(self, cell: int) -> npt.NDArray[np.float32]:
        nearness: npt.NDArray[np.float32] = self.centers @ self.centers[cell]
        nearness[cell] = np.inf  # before another of the same centre
        return nearness


def cut_into_cells(
    embeddings: np.ndarray, *, seed: int, rows_per_cell: int = ROWS_PER_CELL
) -> Cells:
    """Cut the sphere into cells by k-means on a draw of the rows.

    Args:
        embeddings: L2-normalised. Shape: (num_samples, dim).
        seed: Seed of the draw.
        rows_per_cell: Rows of a cell on average.

    Returns:
        The cells, N / rows_per_cell of them and at least one.
    """
    rows = np.ascontiguousarray(embeddings, np.float32)
    count = max(1, len(rows) // rows_per_cell)
    drawn = np.random.default_rng(seed).permutation(len(rows))[: _FITTED_PER_CELL * count]
    fitted = rows[np.sort(drawn)]
    centers = rows[drawn[:count]]
    give_back(rows)
    for _ in range(_ROUNDS):
        _, order, starts = _sorted_by_cell(fitted, centers)
        centers = _means(fitted, order, starts, centers)
    del fitted
    cell_of, order, starts = _sorted_by_cell(rows, centers)
    give_back(rows)
    return Cells(centers, cell_of, rows, order.astype(np.int32), starts)


def _sorted_by_cell(
    rows: np.ndarray, centers: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cell of each row, the rows' order by cell, and where each cell begins."""
    cell_of = np.empty(len(rows), np.int32)
    with tf.device(_DEVICE):
        columns = tf.transpose(tf.convert_to_tensor(centers))

    def assign(start: int) -> None:
        with tf.device(_DEVICE):
            block = tf.convert_to_tensor(rows[start : start + _ASSIGNED])
            cell_of[start : start + _ASSIGNED] = tf.matmul(block, columns).numpy().argmax(axis=1)

    in_threads(assign, range(0, len(rows), _ASSIGNED))
    order = np.argsort(cell_of, kind="stable")
    return cell_of, order, np.searchsorted(cell_of[order], np.arange(len(centers) + 1))


def _means(
    rows: np.ndarray, order: np.ndarray, starts: np.ndarray, centers: np.ndarray
) -> np.ndarray:
    """The direction of the mean of each cell's rows; an empty cell keeps its centre."""
    moved = centers.copy()
    full = np.flatnonzero(np.diff(starts))
    for some in np.split(full, range(_MEANS, len(full), _MEANS)):  # not a copy of all rows
        first = starts[some[0]]
        own = rows[order[first : starts[some[-1] + 1]]]
        sums = np.add.reduceat(own, starts[some] - first, axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        moved[some] = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centers[some])
    return moved
