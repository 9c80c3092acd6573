"""Other clusterings of the same embeddings: k-means, spectral, Ward, HDBSCAN, and the heads.

    python -m benchmarks.baselines FEATURES.npz ... [--seeds 3] [--rows 2000] [--no-heads]

Each file holds `features` and `labels`, which only judge. For each seed, rows are drawn evenly from
all classes. The baselines read unit rows, HDBSCAN the first 30 principal components of them; items
that it calls noise count as a cluster of their own. The number of clusters is that of the classes,
but for HDBSCAN, which finds its own.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.cluster import HDBSCAN, AgglomerativeClustering, SpectralClustering
from sklearn.decomposition import PCA

from benchmarks.guide import drawn_rows
from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.clustering.kmeans import kmeans_clusters
from spice_keras.metrics.clustering import adjusted_rand_index, clustering_accuracy

_COMPONENTS, _SMALLEST, _NEIGHBORS = 30, 10, 10
Method = Callable[[np.ndarray, int, int], np.ndarray]
"""Unit rows [N, D], K and a seed to clusters [N]."""


def _kmeans(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    return kmeans_clusters(rows, count, seed=seed, num_init=20)


def _spectral(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    found = SpectralClustering(
        count, affinity="nearest_neighbors", n_neighbors=_NEIGHBORS, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a graph in several parts
        return np.asarray(found.fit_predict(rows))


def _ward(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    return np.asarray(AgglomerativeClustering(count, linkage="ward").fit_predict(rows))


def _hdbscan(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    points = PCA(min(_COMPONENTS, *rows.shape), random_state=seed).fit_transform(rows)
    found = HDBSCAN(min_cluster_size=_SMALLEST, copy=True).fit_predict(points)
    return np.unique(found, return_inverse=True)[1]


BASELINES: dict[str, Method] = {
    "k-means": _kmeans,
    "spectral": _spectral,
    "Ward": _ward,
    "HDBSCAN": _hdbscan,
}
"""The baselines by name."""


def _heads(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    from spice_keras import SpiceClusterer

    return np.asarray(SpiceClusterer(count, random_state=seed).fit_predict(features))


def compared(
    features: np.ndarray, labels: np.ndarray, seed: int, *, heads: bool
) -> dict[str, tuple[float, float, int, float]]:
    """Cluster the same rows by every method.

    Args:
        features: [N, D].
        labels: int [N].
        seed: Of every method that draws.
        heads: Whether `SpiceClusterer` is among them.

    Returns:
        ACC, ARI, clusters found, and seconds, by method.
    """
    rows, count = l2_normalized(features), len(np.unique(labels))
    methods: dict[str, tuple[Method, np.ndarray]] = {
        name: (method, rows) for name, method in BASELINES.items()
    }
    if heads:
        methods["heads"] = (_heads, features)
    found = {}
    for name, (method, given) in methods.items():
        began = time.perf_counter()
        clusters = method(given, count, seed)
        seconds = time.perf_counter() - began
        scores = clustering_accuracy(labels, clusters), adjusted_rand_index(labels, clusters)
        found[name] = (*scores, len(np.unique(clusters)), seconds)
    return found


def table(name: str, found: list[dict[str, tuple[float, float, int, float]]]) -> list[str]:
    """Put the means over the seeds into lines of a table, the range of ACC in brackets."""
    lines = []
    for method in found[0]:
        acc, ari, clusters, seconds = np.array([one[method] for one in found]).T
        lines.append(
            f"| {name} | {method} | {acc.mean():.3f} ({acc.min():.3f} - {acc.max():.3f}) "
            f"| {ari.mean():.3f} | {clusters.mean():.0f} | {seconds.mean():.1f} |"
        )
    return lines


def main() -> None:
    """Compare on each file, over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--no-heads", action="store_true", help="Leave out SpiceClusterer.")
    asked = parser.parse_args()
    print("| Data | Method | ACC | ARI | Clusters | Seconds |\n|---|---|---|---|---|---|")
    for path in asked.files:
        with np.load(path, allow_pickle=False) as archive:
            features, labels = archive["features"], archive["labels"]
        found = []
        for seed in range(asked.seeds):
            rows = drawn_rows(labels, asked.rows, 1.0, seed)
            one = compared(features[rows], labels[rows], seed, heads=not asked.no_heads)
            found.append(one)
        print("\n".join(table(path.stem, found)), flush=True)


if __name__ == "__main__":
    main()
