"""Nearest neighbours by cosine, block by block, for the local consistency of SPICE."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from spice_keras.scratch import give_back, row_blocks

_DEVICE = "CPU:0"
_SIMILARITIES = 2**23  # cosines held at a time if the caller does not say: 32 MiB
_SMALLEST_BLOCK, _LARGEST_BLOCK = 48, 128  # fewer rows: the product waits for memory
_MOST_THREADS = 8
_PART = 64  # rows of a block selected from at a time, while the processor's cache holds them
_GROUPS = 10  # groups of columns for each value looked for
# Two cores of an AMD EPYC: 60,000 rows of 256 in 7.2 s, a million of 128 in 22 min. The selection
# costs about as much as a product of another 60 columns.
_PRODUCTS_PER_SECOND, _SELECTION = 1.5e11, 60
_CHECKED = 65_536  # rows looked at at a time
_COPIED = 2**28  # bytes of rows from which on a search for a few of them copies a part at a time
_TIES = 4  # candidates for each value looked for, from which sorting them is not worth it

NeighborSearch = Callable[[np.ndarray, int], npt.NDArray[np.int32]]
"""L2-normalised embeddings [N, D] and n_s to neighbours [N, n_s], the item itself first."""


def nearest_neighbors(
    embeddings: np.ndarray, num_neighbors: int, block_size: int | None = None
) -> npt.NDArray[np.int32]:
    """The nearest neighbours of every sample by cosine, itself first.

    The N x N similarities never exist at once: memory is block_size * N for each thread. A sample
    counts among its own neighbours, as in the released code, and stands in column 0 even where
    exact duplicates of it are in the data.

    Args:
        embeddings: L2-normalised embeddings. Shape: (num_samples, dim).
        num_neighbors: n_s, the sample itself included; between 1 and num_samples.
        block_size: Samples that a thread compares with all others at a time, at least 1; where
            None, between 48 and 128, such that all threads' blocks stay below 32 MiB if they can.

    Returns:
        Sample indices, most similar first. Shape: (num_samples, num_neighbors).

    Raises:
        ValueError: If an argument is out of range or an embedding is not finite.

    SPICE (arXiv 2103.09382) Sec. 3.3, the neighbours that Eq. 5 counts.
    """
    return neighbors_of(embeddings, np.arange(len(embeddings)), num_neighbors, block_size)


def neighbors_of(
    embeddings: np.ndarray,
    samples: npt.NDArray[np.int64],
    num_neighbors: int,
    block_size: int | None = None,
) -> npt.NDArray[np.int32]:
    """The nearest neighbours of some samples among all, as `nearest_neighbors` finds them.

    Args:
        embeddings: L2-normalised embeddings. Shape: (num_samples, dim).
        samples: Rows of the samples that are asked about. Shape: (num_asked,).
        num_neighbors: n_s, the sample itself included; between 1 and num_samples.
        block_size: As for `nearest_neighbors`.

    Returns:
        Sample indices, most similar first. Shape: (num_asked, num_neighbors).

    Raises:
        ValueError: If an argument is out of range or an embedding is not finite.
    """
    check_embeddings(embeddings, num_neighbors)
    if block_size is not None and block_size < 1:
        raise ValueError(f"`block_size` must be at least 1. Received: {block_size=}")
    if block_size is None:
        fitting = _SIMILARITIES // (search_threads() * len(embeddings))
        block_size = max(_SMALLEST_BLOCK, min(_LARGEST_BLOCK, fitting))
    neighbors = np.empty((len(samples), num_neighbors), np.int32)
    best = np.empty(neighbors.shape, np.float32)
    part = max(num_neighbors, _COPIED // (4 * embeddings.shape[1]))
    firsts = range(0, max(1, len(embeddings) - num_neighbors + 1), part)
    for first in firsts:
        last = len(embeddings) if first == firsts[-1] else first + part
        _search_part(embeddings, samples, slice(first, last), (neighbors, best), block_size)
        give_back(embeddings)
    for start in range(0, len(samples), _CHECKED):
        block = slice(start, start + _CHECKED)
        neighbors[block] = led_by_themselves(neighbors[block], samples[block])
    return neighbors


def _search_part(
    embeddings: np.ndarray,
    samples: np.ndarray,
    part: slice,
    found: tuple[np.ndarray, np.ndarray],
    block_size: int,
) -> None:
    """Look for the samples' neighbours in a part of the rows, and keep the best so far.

    `found` are their numbers and their cosines; nothing is there before the first part.
    """
    neighbors, best = found
    # On the CPU device: a block is as large as a GPU's free memory may be, and its copy would
    # cost more than the selection.
    with tf.device(_DEVICE):
        # Transposed once: TensorFlow's product would do it again for every block.
        columns = tf.transpose(tf.convert_to_tensor(embeddings[part], tf.float32))

    def fill_block(start: int) -> None:
        own = slice(start, start + block_size)
        with tf.device(_DEVICE):  # each thread has a device of its own
            rows = tf.convert_to_tensor(embeddings[samples[own]], tf.float32)
            # On some processors nearly twice as fast as NumPy's product.
            similarity = tf.matmul(rows, columns).numpy()
            pieces = np.split(similarity, range(_PART, len(similarity), _PART))
            top = np.concatenate([largest_of_rows(piece, best.shape[1]) for piece in pieces])
        values = np.take_along_axis(similarity, top, axis=1)
        top = top + np.int32(part.start)
        if part.start:
            values = np.concatenate([best[own], values], axis=1)
            top = np.concatenate([neighbors[own], top], axis=1)
            order = np.argsort(-values, axis=1, kind="stable")[:, : best.shape[1]]
            values, top = (np.take_along_axis(each, order, axis=1) for each in (values, top))
        neighbors[own], best[own] = top, values

    in_threads(fill_block, range(0, len(samples), block_size))


def search_threads() -> int:
    """How many threads a search uses: one more than there are processors, at most eight.

    While some select, another's product takes what is free.
    """
    return min(_MOST_THREADS, (os.cpu_count() or 1) + 1)


def in_threads(work: Callable[[int], None], tasks: Iterable[int]) -> None:
    """Do each task in one of the search's threads, and wait for all.

    Args:
        work: Called with each task.
        tasks: What to do.
    """
    with ThreadPoolExecutor(search_threads()) as pool:
        for _ in pool.map(work, tasks):
            pass  # an error in a thread is raised here


def exact_seconds(num_samples: int, dim: int) -> float:
    """Estimate how long `nearest_neighbors` takes on two cores.

    An estimate and no measurement, so that what depends on it is the same on every machine.

    Args:
        num_samples: N.
        dim: D.

    Returns:
        Seconds; as many processors as 2 * m divide them by about m.
    """
    return num_samples**2 * (dim + _SELECTION) / _PRODUCTS_PER_SECOND


def euclidean_neighbors(
    features: np.ndarray, num_neighbors: int, block_size: int = 1024
) -> npt.NDArray[np.int32]:
    """The nearest neighbours of every sample by Euclidean distance, itself first.

    Args:
        features: As the encoder gives them, not normalised. Shape: (num_samples, dim).
        num_neighbors: n, the sample itself included; between 1 and num_samples.
        block_size: Samples compared with all others at a time, at least 1.

    Returns:
        Sample indices, nearest first. Shape: (num_samples, num_neighbors).

    Raises:
        ValueError: If an argument is out of range or a feature is not finite.
    """
    check_embeddings(features, num_neighbors)
    # Distances stay what they are, and are rounded less.
    rows = (features - features.mean(axis=0, dtype=np.float64)).astype(np.float32)
    halves = np.square(rows).sum(axis=1) / 2.0
    neighbors = np.empty((len(rows), num_neighbors), np.int32)
    for start in range(0, len(rows), block_size):
        block = slice(start, min(start + block_size, len(rows)))
        # Half the squared distance, less what is the same in the whole row, with the sign changed.
        top = largest_of_rows(rows[block] @ rows.T - halves, num_neighbors)
        neighbors[block] = led_by_themselves(top, np.arange(block.start, block.stop))
    return neighbors


def largest_of_rows(values: np.ndarray, count: int) -> npt.NDArray[np.int32]:
    """Where the largest values of every row stand: what `tf.math.top_k` finds, sooner.

    The maxima of groups of columns bound a row's count-th largest value from below, and few values
    reach the bound: they alone are sorted.

    Args:
        values: Finite. Shape: (num_rows, num_columns).
        count: How many of each row, between 1 and num_columns.

    Returns:
        Columns, the largest value first and of equal values the first. Shape: (num_rows, count).
    """
    num_rows, num_columns = values.shape
    size = max(1, num_columns // (_GROUPS * count))
    groups = num_columns // size
    maxima = values[:, :groups].copy()
    for start in range(groups, size * groups, groups):
        np.maximum(maxima, values[:, start : start + groups], out=maxima)
    maxima.partition(groups - count, axis=1)
    bound = maxima[:, groups - count, np.newaxis]
    rows, columns = np.divmod(np.flatnonzero(values >= bound), num_columns)
    reaching = np.bincount(rows, minlength=num_rows)
    if reaching.max() > _TIES * count:  # nearly all are equal: the bound bounds nothing
        indices: npt.NDArray[np.int32] = tf.math.top_k(values, k=count).indices.numpy()
        return indices
    place = np.arange(len(rows)) - np.repeat(np.cumsum(reaching) - reaching, reaching)
    candidates = np.full((num_rows, reaching.max()), -np.inf, values.dtype)
    candidates[rows, place] = values[rows, columns]
    indices = np.zeros(candidates.shape, np.int32)
    indices[rows, place] = columns
    order = np.argsort(-candidates, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(indices, order, axis=1)


def led_by_themselves(top: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Move each of some samples to the front of its row, where rounding or a duplicate led.

    Args:
        top: Neighbours of the samples, most similar first. Shape: (num_asked, num_neighbors).
        samples: Rows of the samples. Shape: (num_asked,).

    Returns:
        The same, each sample first in its own row.
    """
    own = samples[:, np.newaxis]
    others = top != own
    # Behind more duplicates than there are places: the last of them makes room.
    others[others.all(axis=1), -1] = False
    return np.concatenate([own, top[others].reshape(len(top), -1)], axis=1)


def check_embeddings(embeddings: np.ndarray, num_neighbors: int) -> None:
    """Refuse what no search can answer.

    Args:
        embeddings: To search. Shape: (num_samples, dim).
        num_neighbors: n_s.

    Raises:
        ValueError: If n_s is out of range or an embedding is not finite.
    """
    if embeddings.ndim != 2:
        raise ValueError(
            f"`embeddings` must be (num_samples, dim). Received: shape={embeddings.shape}"
        )
    if not 1 <= num_neighbors <= len(embeddings):
        raise ValueError(
            "`num_neighbors` counts the sample itself and must lie between 1 and the number of "
            f"samples. Received: {num_neighbors=}, num_samples={len(embeddings)}"
        )
    # A block at a time: what isfinite says of all of them is a quarter of their size.
    blocks = row_blocks(embeddings, _CHECKED)
    if not all(np.isfinite(embeddings[rows]).all() for rows in blocks):
        raise ValueError("`embeddings` must be finite. Received: an array with NaN or infinity")
