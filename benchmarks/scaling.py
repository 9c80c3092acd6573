"""How time and memory grow: synthetic embeddings, heads, neighbours, local consistency."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.data import embeddings
from benchmarks.steps import prototype_heads
from benchmarks.workers import ask

DIM, CLUSTERS, NEIGHBORS, HEADS, SAMPLES, STEPS = 128, 10, 100, 10, 5000, 10
_RECALL_ROWS = 500
_EXACT_UP_TO = 200_000
SELF = f"SPICE-Self, {STEPS} iterations of M = {SAMPLES:,}, and assignment"
EXACT, APPROXIMATE = "neighbours, exact", "neighbours, approximate (.95 asked for)"
CONSISTENCY, WHOLE = "local consistency", "SpiceClusterer.fit, whole"


def _timed(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """The result of a call, its seconds and the megabytes it added at its highest."""
    from benchmarks.memory import added_megabytes

    kept: list[Any] = []
    begin = time.perf_counter()
    megabytes = added_megabytes(lambda: kept.append(call()))
    return kept[0], {"seconds": time.perf_counter() - begin, "megabytes": megabytes}


def our_steps(count: int) -> dict[str, dict[str, float]]:
    """SPICE-Self's heads, exact neighbours (up to a size), local consistency."""
    from spice_keras.runtime import start_tensorflow

    start_tensorflow()
    from spice_keras.algorithm.local_consistency import local_consistency
    from spice_keras.clustering.neighbors import nearest_neighbors

    rows = embeddings(count, DIM)
    clusters, costs = _timed(lambda: _train_and_assign(rows))
    found = {SELF: costs}
    if count <= _EXACT_UP_TO:
        neighbors, found[EXACT] = _timed(lambda: nearest_neighbors(rows, NEIGHBORS))
    else:
        neighbors = np.random.default_rng(0).integers(0, count, (count, NEIGHBORS), np.int32)
    _, found[CONSISTENCY] = _timed(lambda: local_consistency(clusters, neighbors))
    return found


def _train_and_assign(rows: np.ndarray) -> np.ndarray:
    """A fixed number of SPICE-Self's iterations, then the cluster of every item."""
    from spice_keras.heads.objectives import HeadOptions, PrototypeOptions

    labeling = prototype_heads(
        rows,
        rows[np.newaxis],
        HeadOptions(CLUSTERS, num_heads=HEADS, epochs=1000, learning_rate=0.005),
        PrototypeOptions(SAMPLES),
    )
    labeling.model.fit(
        labeling.batches(0), steps_per_epoch=STEPS, epochs=1, verbose=0, shuffle=False
    )
    head = int(np.argmin(labeling.model.head_losses.numpy()))
    best = labeling.model.classifier.head_model(head)
    return np.argmax(best.predict(rows, batch_size=8192, verbose=0), axis=1)


def approximate_search(count: int) -> dict[str, float]:
    """The approximate search: seconds, megabytes, and the share of true neighbours found."""
    from spice_keras.clustering.approximate import approximate_neighbors

    rows = embeddings(count, DIM)
    found, costs = _timed(lambda: approximate_neighbors(rows, NEIGHBORS))
    chosen = np.random.default_rng(0).choice(count, min(_RECALL_ROWS, count), replace=False)
    return costs | {"recall": float(np.mean([_recall(rows, found[row], row) for row in chosen]))}


def _recall(rows: np.ndarray, found: np.ndarray, row: int) -> float:
    """Share of one item's true neighbours that were found."""
    true = np.argpartition(rows @ -rows[row], NEIGHBORS - 1)[:NEIGHBORS]
    return len(set(found.tolist()) & set(true.tolist())) / NEIGHBORS


def whole_fit(count: int) -> dict[str, float]:
    """What a user calls: neighbours, spectral start, heads, choice, local consistency."""
    from spice_keras.runtime import start_tensorflow

    start_tensorflow()
    from spice_keras import SpiceClusterer

    rows = embeddings(count, DIM)
    clusterer = SpiceClusterer(CLUSTERS, random_state=0)
    return _timed(lambda: clusterer.fit(rows))[1]


def measured(count: int) -> dict[str, Any]:
    """Seconds and added megabytes of each part at one N."""
    costs = ask(our_steps, count)
    costs[APPROXIMATE] = ask(approximate_search, count)
    if count <= _EXACT_UP_TO:
        costs[WHOLE] = ask(whole_fit, count)
    rows = [
        (
            name,
            f"{cost['seconds']:.1f}",
            f"{cost['megabytes']:.0f}",
            f"{cost['recall']:.4f}" if "recall" in cost else "",
        )
        for name, cost in costs.items()
    ]
    head = ["", "seconds", "added at most, MB", "recall"]
    return {
        "title": f"Growth: {count:,} embeddings of {DIM} dimensions",
        "rounds": 1,
        "figures": [],
        "table": {"head": head, "rows": rows},
        "growth": {"count": count, "costs": costs},
        "missing": {},
        "notes": [
            f"Measured once. The embeddings themselves, {4e-6 * count * DIM:.0f} MB, are not "
            "counted. Iterations of SPICE-Self cost the same at any N; an epoch has N / M of them. "
            f"Up to {_EXACT_UP_TO:,} rows the exact search and the whole fit are measured too.",
            "The rows lie evenly about their ten centres, a hard case for an approximate search.",
        ],
    }
