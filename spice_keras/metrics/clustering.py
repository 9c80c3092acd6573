"""How well clusters agree with known classes: ACC, purity, NMI, ARI."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score


def contingency(
    labels: npt.ArrayLike,
    clusters: npt.ArrayLike,
    *,
    num_classes: int | None = None,
    num_clusters: int | None = None,
) -> npt.NDArray[np.int64]:
    """How many samples each class and cluster share.

    Args:
        labels: Class of each sample, integers from 0. Shape: (num_samples,).
        clusters: Cluster of each sample, integers from 0. Shape: (num_samples,).
        num_classes: C; by default the largest label + 1.
        num_clusters: K; by default the largest cluster + 1.

    Returns:
        Counts, row = class, column = cluster. Shape: (C, K).

    Raises:
        ValueError: If there is no sample, shapes disagree, or an id is negative, not an integer, or
            beyond the given number.

    SPICE (arXiv 2103.09382) Sec. 4.2, the table behind ACC.

    Example:
        >>> contingency([0, 0, 1], [1, 1, 0]).tolist()
        [[0, 2], [1, 0]]
    """
    rows, columns = _checked(labels, clusters)
    num_classes = _count("num_classes", num_classes, rows)
    num_clusters = _count("num_clusters", num_clusters, columns)
    cells = np.bincount(rows * num_clusters + columns, minlength=num_classes * num_clusters)
    return cells.reshape(num_classes, num_clusters).astype(np.int64)


def match_clusters(labels: npt.ArrayLike, clusters: npt.ArrayLike) -> dict[int, int]:
    """The one-to-one matching of clusters with classes that most samples agree with.

    Args:
        labels: Class of each sample, integers from 0. Shape: (num_samples,).
        clusters: Cluster of each sample, integers from 0. Shape: (num_samples,).

    Returns:
        Class of each matched cluster. With more clusters than classes some clusters are absent;
        a matched pair may share no sample.

    Raises:
        ValueError: If there is no sample, shapes disagree, or an id is negative or not an integer.

    SPICE (arXiv 2103.09382) Sec. 4.2 (Hungarian algorithm), for any two numbers of ids.

    Example:
        >>> match_clusters([0, 0, 1], [1, 1, 0])
        {0: 1, 1: 0}
    """
    counts = contingency(labels, clusters)
    # Only ids that occur: an unused number must not take a class from a cluster with samples.
    classes = np.flatnonzero(counts.sum(axis=1))
    used = np.flatnonzero(counts.sum(axis=0))
    columns, rows = linear_sum_assignment(counts[np.ix_(classes, used)].T, maximize=True)
    return {int(used[c]): int(classes[r]) for c, r in zip(columns, rows, strict=True)}


def clustering_accuracy(labels: npt.ArrayLike, clusters: npt.ArrayLike) -> float:
    """ACC: the share of samples in the cluster matched with their class.

    Args:
        labels: Class of each sample, integers from 0. Shape: (num_samples,).
        clusters: Cluster of each sample, integers from 0. Shape: (num_samples,).

    Returns:
        ACC in (0, 1], 1 for equal partitions. Samples of unmatched clusters count as wrong.

    Raises:
        ValueError: If there is no sample, shapes disagree, or an id is negative or not an integer.

    SPICE (arXiv 2103.09382) Sec. 4.2.

    Example:
        >>> clustering_accuracy([0, 0, 1, 1], [1, 1, 0, 0])
        1.0
        >>> clustering_accuracy([0, 0, 1, 1], [0, 1, 2, 3])
        0.5
    """
    counts = contingency(labels, clusters)
    agreeing = sum(counts[row, column] for column, row in match_clusters(labels, clusters).items())
    return float(agreeing / counts.sum())


def balanced_accuracy(labels: npt.ArrayLike, clusters: npt.ArrayLike) -> float:
    """Balanced ACC: the mean over the classes of the share that is in the matched cluster.

    ACC can be won by cutting a large class well and losing the small ones; here each class counts
    once. Clusters are matched with classes so that this mean is the largest.

    Args:
        labels: Class of each sample, integers from 0. Shape: (num_samples,).
        clusters: Cluster of each sample, integers from 0. Shape: (num_samples,).

    Returns:
        Balanced ACC in (0, 1], equal to ACC if all classes are equally large.

    Raises:
        ValueError: If there is no sample, shapes disagree, or an id is negative or not an integer.

    Not in the SPICE paper, whose classes are equally large.

    Example:
        >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0])
        0.5
    """
    counts = contingency(labels, clusters)
    counts = counts[counts.sum(axis=1) > 0]
    recalls = counts / counts.sum(axis=1, keepdims=True)
    rows, columns = linear_sum_assignment(recalls, maximize=True)
    # Sums of rounded shares can pass 1 by a last bit.
    return float(min(1.0, recalls[rows, columns].sum() / len(recalls)))


def purity(labels: npt.ArrayLike, clusters: npt.ArrayLike) -> float:
    """The share of samples that are of their cluster's most frequent class (many-to-one ACC).

    It never falls when a cluster is split, so compare it at equal numbers of clusters only.

    Args:
        labels: Class of each sample, integers from 0. Shape: (num_samples,).
        clusters: Cluster of each sample, integers from 0. Shape: (num_samples,).

    Returns:
        Purity in (0, 1], at least ACC.

    Raises:
        ValueError: If there is no sample, shapes disagree, or an id is negative or not an integer.

    Not in the SPICE paper; it speaks about over-clustering, where ACC cannot reach 1.

    Example:
        >>> purity([0, 0, 1, 1], [0, 1, 2, 3])
        1.0
    """
    counts = contingency(labels, clusters)
    return float(counts.max(axis=0).sum() / counts.sum())


def normalized_mutual_information(
    labels: npt.ArrayLike,
    clusters: npt.ArrayLike,
    average: Literal["geometric", "arithmetic"] = "geometric",
) -> float:
    """NMI: the information that clusters and classes share.

    Args:
        labels: Class of each sample, integers from 0. Shape: (num_samples,).
        clusters: Cluster of each sample, integers from 0. Shape: (num_samples,).
        average: The mean of both entropies that normalises. SPICE reports "geometric", many
            others "arithmetic", scikit-learn's default.

    Returns:
        NMI in [0, 1], 1 for equal partitions.

    Raises:
        ValueError: If there is no sample, shapes disagree, an id is negative or not an integer, or
            the average is unknown.

    SPICE (arXiv 2103.09382) Sec. 4.2.
    """
    if average not in ("geometric", "arithmetic"):
        raise ValueError(f'`average` must be "geometric" or "arithmetic". Received: {average=}')
    rows, columns = _checked(labels, clusters)
    score = normalized_mutual_info_score(rows, columns, average_method=average)
    return float(np.clip(score, 0.0, 1.0))


def adjusted_rand_index(labels: npt.ArrayLike, clusters: npt.ArrayLike) -> float:
    """ARI: the share of sample pairs treated alike, corrected for chance.

    Args:
        labels: Class of each sample, integers from 0. Shape: (num_samples,).
        clusters: Cluster of each sample, integers from 0. Shape: (num_samples,).

    Returns:
        ARI in [-0.5, 1]: 1 for equal partitions, about 0 for random ones.

    Raises:
        ValueError: If there is no sample, shapes disagree, or an id is negative or not an integer.

    SPICE (arXiv 2103.09382) Sec. 4.2.
    """
    rows, columns = _checked(labels, clusters)
    return float(adjusted_rand_score(rows, columns))


def _checked(
    labels: npt.ArrayLike, clusters: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Both as int64 vectors: the single gate of every metric here."""
    rows, columns = np.asarray(labels), np.asarray(clusters)
    if rows.ndim != 1 or rows.shape != columns.shape or not len(rows):
        raise ValueError(
            "`labels` and `clusters` must both be (num_samples,) with at least one sample. "
            f"Received: shapes {rows.shape} and {columns.shape}"
        )
    for name, ids in (("labels", rows), ("clusters", columns)):
        if not np.issubdtype(ids.dtype, np.integer) or ids.min() < 0:
            raise ValueError(
                f"`{name}` must be integers from 0 (leave out samples without a label). "
                f"Received: dtype={ids.dtype}, smallest={ids.min()}"
            )
    return rows.astype(np.int64), columns.astype(np.int64)


def _count(name: str, given: int | None, ids: npt.NDArray[np.int64]) -> int:
    needed = int(ids.max()) + 1
    if given is not None and given < needed:
        raise ValueError(f"`{name}` must be at least {needed} for these ids. Received: {given}")
    return needed if given is None else given
