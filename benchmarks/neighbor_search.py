"""Recall against time of searches for neighbours, on rows without groups and on real ones."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.data import embeddings
from benchmarks.workers import ask

DIM, NEIGHBORS, SAMPLES = 128, 11, 2000
RECALLS = (0.9, 0.95, 0.99)
FEATURES = "SPICE_BENCH_FEATURES"
"""Environment variable: an .npz file of `features` that the second kind of rows is made from."""
KINDS = ("evenly spread about ten centres", "real features, repeated with noise")


def repeated(features: np.ndarray, count: int, dim: int, seed: int = 0) -> np.ndarray:
    """Rows that resemble features: each several times, moved about as far as its neighbour lies.

    Args:
        features: Any real numbers. Shape: (num_features, any_dim).
        count: How many rows.
        dim: Principal components kept.
        seed: Of the noise.

    Returns:
        Unit rows, float32 [count, dim].
    """
    draws = np.random.default_rng(seed)
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    rows = rows - rows.mean(axis=0)
    rows = (rows @ np.linalg.svd(rows[:5000], full_matrices=False)[2][:dim].T).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    nearest = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), 1000):
        cosines = rows[start : start + 1000] @ rows.T
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = -1.0
        nearest[start : start + 1000] = np.sqrt(np.maximum(2.0 - 2.0 * cosines.max(axis=1), 0.0))
    which = np.arange(count) % len(rows)
    noise = draws.standard_normal((count, rows.shape[1]), dtype=np.float32)
    drawn = rows[which] + noise * (nearest[which] / np.sqrt(rows.shape[1]))[:, np.newaxis]
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn[draws.permutation(count)]


def rows_of(kind: str, count: int) -> np.ndarray:
    """The rows of a kind: drawn ones, or those of `FEATURES` (digits if it is not set)."""
    if kind == KINDS[0]:
        return embeddings(count, DIM)
    path = os.environ.get(FEATURES)
    if path:
        with np.load(path) as archive:
            return repeated(archive["features"], count, DIM)
    from sklearn.datasets import load_digits

    return repeated(load_digits().data, count, 64)


def searches(kind: str, count: int) -> list[tuple[str, float, float, float]]:
    """Name, seconds by the clock and of the processor, and recall of each search."""
    from spice_keras.runtime import start_tensorflow

    start_tensorflow()
    from spice_keras.clustering.approximate import approximate_neighbors, found_share
    from spice_keras.clustering.neighbors import neighbors_of

    rows = rows_of(kind, count)
    samples = np.linspace(0, count - 1, min(SAMPLES, count)).astype(np.int64)
    neighbors_of(rows[:1000], np.arange(100), NEIGHBORS)  # what TensorFlow starts only once
    true, wall, processor = _timed(lambda: neighbors_of(rows, samples, NEIGHBORS))
    times = count / len(samples)
    found = [("exact (from 2,000 rows)", wall * times, processor * times, 1.0)]
    for recall in RECALLS:
        result, wall, processor = _timed(
            partial(approximate_neighbors, rows, NEIGHBORS, recall=recall)
        )
        share = found_share(result[samples], true)
        found.append((f"cells, {recall} asked for", wall, processor, share))
    for name, search in _faiss_searches(rows):
        result, wall, processor = _timed(search)
        found.append((name, wall, processor, found_share(result[samples], true)))
    return found


def _timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - processor


def _faiss_searches(rows: np.ndarray) -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """FAISS's graph and inverted lists, the index included; none if FAISS is missing."""
    try:
        import faiss
    except ImportError:
        return

    def graph() -> np.ndarray:
        index = faiss.IndexHNSWFlat(rows.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = 80, 64
        index.add(rows)
        return np.asarray(index.search(rows, NEIGHBORS)[1])

    def lists() -> np.ndarray:
        number = max(1, min(int(4 * np.sqrt(len(rows))), len(rows) // 39))
        flat = faiss.IndexFlatIP(rows.shape[1])
        index = faiss.IndexIVFFlat(flat, rows.shape[1], number, faiss.METRIC_INNER_PRODUCT)
        index.train(rows[:: max(1, len(rows) // (64 * number))])
        index.add(rows)
        index.nprobe = 32
        return np.asarray(index.search(rows, NEIGHBORS)[1])

    yield "FAISS HNSW, 32 links, efSearch 64", graph
    yield "FAISS inverted lists, 32 probed", lists


def measured(count: int) -> dict[str, Any]:
    """Every search on both kinds of rows."""
    table = [
        (kind, name, f"{wall:.1f}", f"{processor:.1f}", f"{recall:.3f}")
        for kind in KINDS
        for name, wall, processor, recall in ask(searches, kind, count)
    ]
    return {
        "title": f"Recall against time: {NEIGHBORS} neighbours among {count:,} rows",
        "rounds": 1,
        "figures": [],
        "table": {
            "head": ["rows", "search", "seconds", "processor seconds", "recall"],
            "rows": table,
        },
        "missing": {},
        "notes": [
            f"Measured once. The exact search is that of {SAMPLES:,} rows, multiplied. Real "
            f"features are those of the file that {FEATURES} names, reduced to {DIM} principal "
            "components; scikit-learn's digits (64 pixels) if it is not set.",
        ],
    }
