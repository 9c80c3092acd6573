"""Memory of local consistency: by blocks, where the reference holds the N x N matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.data import embeddings
from benchmarks.workers import ask

SIZES, DIM, NEIGHBORS = (15_000, 30_000, 60_000), 128, 100
RUNS = 3  # what the allocator keeps of freed blocks differs from one run to the next
_LIMIT = 300.0


def added(count: int) -> float:
    """Megabytes that neighbours and consistency of `count` items need beside the embeddings."""
    from spice_keras.runtime import release_memory, start_tensorflow

    start_tensorflow()
    from benchmarks.memory import added_megabytes
    from spice_keras.algorithm.local_consistency import local_consistency
    from spice_keras.clustering.neighbors import nearest_neighbors

    rows = embeddings(count, DIM)
    clusters = np.random.default_rng(0).integers(0, 10, count)
    nearest_neighbors(rows[:2000], NEIGHBORS)  # what the libraries keep for themselves
    release_memory()

    def call() -> np.ndarray:
        return local_consistency(clusters, nearest_neighbors(rows, NEIGHBORS))

    return added_megabytes(call)


def measured() -> dict[str, Any]:
    """Extra memory at several N, beside that of the matrix."""
    megabytes = {count: max(ask(added, count) for _ in range(RUNS)) for count in SIZES}
    largest = SIZES[-1]
    rows = [
        (f"{count:,}", f"{megabytes[count]:.0f} MB", f"{4 * count * count / 1e6:,.0f} MB")
        for count in SIZES
    ]
    return {
        "title": f"Extra memory of local consistency, n_s = {NEIGHBORS}",
        "figures": [
            {
                "label": f"N = {largest:,}",
                "value": round(megabytes[largest]),
                "unit": "MB",
                "target": f"under {_LIMIT:.0f} MB: "
                + ("met" if megabytes[largest] < _LIMIT else "missed"),
            }
        ],
        "rounds": RUNS,
        "table": {"head": ["N", "ours", "the N x N matrix"], "rows": rows},
        "notes": [
            f"The highest of {RUNS} runs, each in a new process. "
            "Highest resident memory of the process during the call, less what it held before "
            f"(embeddings of {DIM} dimensions, the libraries). The neighbours themselves are "
            f"{4 * largest * NEIGHBORS / 1e6:.0f} MB of it at N = {largest:,}."
        ],
    }
