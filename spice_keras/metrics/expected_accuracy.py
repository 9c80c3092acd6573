"""Expected accuracy: what figures without labels said of the truth on clusterings that had labels.

The mapping was fitted by `tools/fit_trust.py`, which says how; its numbers lie beside this file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from spice_keras.metrics.captured_variance import captured_variance
from spice_keras.metrics.clustering import adjusted_rand_index
from spice_keras.metrics.trust import local_consistency_rate, silhouette
from spice_keras.options import Objective
from spice_keras.scratch import row_blocks

_ROWS = 4096
_LINKED = 10  # nearest neighbours that are asked
_FILE = "expected_accuracy.json"
_GUIDED_FILE = "expected_accuracy_guided.json"
_SEEN = 3.0  # standard deviations that figures may lie from the mean of those that were fitted
LARGEST_K, FEWEST_PER_CLUSTER = 60, 8
"""Beyond these the mapping was not fitted: more clusters, or fewer items a cluster on average."""


@dataclass(frozen=True)
class TrustFigures:
    """What is known of a clustering without labels: the higher each, the better it went.

    Attributes:
        consistency: Share of the nearest neighbours in the same cluster, corrected for chance: 0
            for random clusters of these sizes, 1 at most.
        agreement: ARI of the clusters with those of each other head, mean over the heads.
        silhouette: Mean silhouette by cosine distance, in [-1, 1].
        apart: Mean cosine distance of an item and its nearest neighbour. Where the encoder sees
            the same again and again, clusters are plain whatever they are worth.
        captured: How much of the variance that K clusters can hold these hold, in [0, 1].
    """

    consistency: float
    agreement: float
    silhouette: float
    apart: float
    captured: float

    def as_row(self) -> np.ndarray:
        """Return the figures in their order, float64 [F]."""
        return np.array(list(asdict(self).values()), np.float64)


@dataclass(frozen=True)
class ExpectedAccuracy:
    """What accuracy to expect, and the range that held it four times in five.

    Attributes:
        acc: Expected ACC.
        low: Lower end of the range.
        high: Upper end.
        purity: Expected share of items of their cluster's largest class.
    """

    acc: float
    low: float
    high: float
    purity: float


@dataclass(frozen=True, eq=False)
class Judged:
    """A clustering by one of several heads, and what it is judged by; N items, H heads.

    Attributes:
        clusters: Cluster of each item, in 0..K-1. Shape: (N,).
        num_clusters: K.
        rows: Unit rows of the items. Shape: (N, dim).
        neighbors: Nearest neighbours of each item, itself first. Shape: (N, n).
        others: Clusters of the other heads. Shape: (H - 1, N).
    """

    clusters: np.ndarray
    num_clusters: int
    rows: np.ndarray
    neighbors: np.ndarray
    others: np.ndarray


def trust_figures(judged: Judged, *, silhouette_samples: int = 2000, seed: int = 0) -> TrustFigures:
    """Take the figures that expected accuracy is worked out from.

    Args:
        judged: The clustering; two clusters at least are in use, and there are other heads.
        silhouette_samples: Items the silhouette is computed on.
        seed: Seed of their draw, and of that of items whose variance is looked at.

    Returns:
        The figures.
    """
    clusters, count, rows = judged.clusters, judged.num_clusters, judged.rows
    sizes = np.bincount(clusters, minlength=count)
    # Without the item itself, which always agrees.
    near = judged.neighbors[:, 1 : 1 + _LINKED]
    return TrustFigures(
        consistency=corrected_consistency(local_consistency_rate(clusters, near), sizes),
        agreement=float(np.mean([adjusted_rand_index(clusters, each) for each in judged.others])),
        silhouette=silhouette(rows, clusters, max_samples=silhouette_samples, seed=seed) or 0.0,
        apart=1.0 - _nearest(rows, near[:, 0]),
        captured=captured_variance(rows, clusters, count, seed=seed),
    )


def _nearest(rows: np.ndarray, nearest: np.ndarray) -> float:
    """Mean cosine of each row to its nearest neighbour."""
    cosines = np.empty(len(rows), rows.dtype)
    for part in row_blocks(rows, _ROWS):
        cosines[part] = np.einsum("nd,nd->n", rows[part], rows[nearest[part]])
    return float(np.mean(cosines))


def corrected_consistency(rate: float, sizes: np.ndarray) -> float:
    """Correct a share of neighbours in the same cluster for chance.

    Args:
        rate: The share.
        sizes: Items of each cluster. Shape: (num_clusters,).

    Returns:
        0 for what random clusters of these sizes would reach, 1 at most; 0 for a single cluster.
    """
    chance = float(np.sum(np.square(np.asarray(sizes, np.float64) / np.sum(sizes))))
    return (rate - chance) / (1.0 - chance) if chance < 1.0 else 0.0


def expected_accuracy(figures: TrustFigures) -> ExpectedAccuracy:
    """Map figures without labels to the accuracy they went with.

    Args:
        figures: Of a clustering by heads of one of `JUDGED_OBJECTIVES`.

    Returns:
        The expectation.

    Example:
        >>> good = TrustFigures(0.95, 0.95, 0.3, 0.5, 0.95)
        >>> poor = TrustFigures(0.60, 0.5, 0.05, 0.3, 0.7)
        >>> expected_accuracy(good).acc > expected_accuracy(poor).acc
        True
    """
    fitted = _fitted()
    row = figures.as_row()
    acc = foretold(row, fitted["acc"])
    low, high = fitted["acc"]["residuals"]
    return ExpectedAccuracy(
        acc=_probability(acc),
        low=_probability(acc + low),
        high=_probability(acc + high),
        purity=_probability(foretold(row, fitted["purity"])),
    )


def guided_figures(
    clusters: np.ndarray, num_clusters: int, near: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Take the figures that say what accuracy clusters guided by words reach at least.

    Heads that begin at the same words agree whatever their clusters are worth, so their agreement
    is not among the figures.

    Args:
        clusters: Cluster of each item, in 0..K-1. Shape: (N,).
        num_clusters: K.
        near: Nearest neighbours of each item, itself not among them. Shape: (N, n).
        rows: Unit rows of the items. Shape: (N, dim).

    Returns:
        `TrustFigures.consistency`, and the mean cosine of an item and its nearest neighbour: how
        much of what the encoder sees repeats itself. float64 [2].
    """
    near = near[:, :_LINKED]
    sizes = np.bincount(clusters, minlength=num_clusters)
    consistency = corrected_consistency(local_consistency_rate(clusters, near), sizes)
    nearest = _nearest(rows, near[:, 0])
    return np.array([consistency, nearest])


def least_accuracy(figures: np.ndarray) -> float:
    """Map figures of clusters guided by words to an accuracy that was mostly reached.

    The expectation itself is not stated: on the one data set whose images the words knew, it was
    far too low when it was fitted on the others.

    Args:
        figures: Of `guided_figures`.

    Returns:
        An ACC that 94 % of the clusterings of left-out data sets reached.

    Example:
        >>> least_accuracy(np.array([0.9, 0.7])) > least_accuracy(np.array([0.5, 0.7]))
        True
    """
    fitted = _fitted(_GUIDED_FILE)
    return _probability(foretold(figures, fitted["acc"]) + fitted["acc"]["residuals"][0])


JUDGED_OBJECTIVES: frozenset[Objective] = frozenset({"neighbors", "prototypes"})
"""Objectives of the heads that the mapping holds for: it was fitted on the first, and tried on
clusterings of the second, on embeddings that no run had trained."""


def applies(num_items: int, num_clusters: int, clusters_in_use: int, num_heads: int) -> bool:
    """Tell whether a clustering is of the kind the mapping was fitted on.

    Args:
        num_items: N.
        num_clusters: K.
        clusters_in_use: Clusters that are not empty.
        num_heads: Heads that were trained.

    Returns:
        Whether an expected accuracy may be stated.
    """
    enough = num_items >= FEWEST_PER_CLUSTER * num_clusters
    return enough and clusters_in_use >= 2 and num_clusters <= LARGEST_K and num_heads >= 2


def fitted_on(*, guided: bool = False) -> tuple[int, int]:
    """Return how many clusterings the mapping was fitted on, and of how many data sets.

    Args:
        guided: Of the mapping for clusters that words guide.
    """
    facts = _fitted(_GUIDED_FILE if guided else _FILE)["left_out"]
    return int(facts["clusterings"]), len(facts["sets"])


def too_high_with_fewer_clusters() -> float:
    """Return by how much the expectation exceeded ACC if there were fewer clusters than classes."""
    return float(_fitted()["left_out"]["too_high_with_fewer_clusters"])


def fit_mapping(
    figures: np.ndarray, truth: np.ndarray, penalty: float = 3.0
) -> dict[str, list[float] | float]:
    """Fit the log-odds of a truth by a ridge regression on standardised figures.

    Args:
        figures: One clustering a row. Shape: (num_clusterings, F).
        truth: ACC or purity of each. Shape: (num_clusterings,).
        penalty: Weight of the squared coefficients.

    Returns:
        `mean`, `scale` and `weights` of the figures, and the `intercept`.
    """
    mean, scale = figures.mean(axis=0), figures.std(axis=0) + 1e-9
    rows = (figures - mean) / scale
    target = log_odds(truth)
    gram = rows.T @ rows + penalty * np.eye(rows.shape[1])
    weights = np.linalg.solve(gram, rows.T @ (target - target.mean()))
    return {
        "mean": mean.tolist(),
        "scale": scale.tolist(),
        "weights": weights.tolist(),
        "intercept": float(target.mean()),
    }


def fit_mean_mapping(figures: np.ndarray, truth: np.ndarray) -> dict[str, list[float] | float]:
    """Fit the log-odds of a truth by a line in the mean of standardised figures.

    One slope for all figures holds on other data sets better than one each (docs/results.md).

    Args:
        figures: One clustering a row; the higher each, the better. Shape: (num_clusterings, F).
        truth: ACC or purity of each. Shape: (num_clusterings,).

    Returns:
        What `fit_mapping` returns, its weights all the same.
    """
    mean, scale = figures.mean(axis=0), figures.std(axis=0) + 1e-9
    slope, intercept = np.polyfit(((figures - mean) / scale).mean(axis=1), log_odds(truth), 1)
    return {
        "mean": mean.tolist(),
        "scale": scale.tolist(),
        "weights": [float(slope) / figures.shape[1]] * figures.shape[1],
        "intercept": float(intercept),
    }


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Log-odds, of probabilities kept within .02 and .985 so that they stay finite."""
    kept = np.clip(probability, 0.02, 0.985)
    return np.log(kept / (1.0 - kept))


def foretold(figures: np.ndarray, fitted: Mapping[str, Any]) -> np.ndarray:
    """Apply a mapping.

    Args:
        figures: Of one clustering, or of many. Shape: (..., F).
        fitted: What `fit_mapping` or `fit_mean_mapping` returned.

    Returns:
        Log-odds. Shape: (...). Figures far from all that were fitted count as the farthest of them.
    """
    standard = (figures - np.array(fitted["mean"])) / np.array(fitted["scale"])
    odds: np.ndarray = np.clip(standard, -_SEEN, _SEEN) @ np.array(fitted["weights"])
    return odds + fitted["intercept"]


def _probability(odds: float | np.ndarray) -> float:
    return float(1.0 / (1.0 + np.exp(-odds)))


@cache
def _fitted(file: str = _FILE) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files("spice_keras.metrics").joinpath(file).read_text())
    return found
