"""Which samples each cluster takes: its best ones, or its best that are left."""

from __future__ import annotations

import numpy as np


def claimed(scores: np.ndarray, count: int, *, exclusive: bool) -> list[list[list[int]]]:
    """Samples of each cluster of each head, best first; clusters choose in the order 0, 1, ..."""
    heads = []
    for head in scores:
        used: set[int] = set()
        clusters = []
        for cluster in head:
            ranked = sorted(range(len(cluster)), key=lambda sample: -float(cluster[sample]))
            if exclusive:
                ranked = [sample for sample in ranked if sample not in used]
            clusters.append(ranked[:count])
            used |= set(ranked[:count])
        heads.append(clusters)
    return heads
