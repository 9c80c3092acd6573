"""MoCo's dictionary as a queue: a Python list with the newest batch in front."""

from __future__ import annotations

import numpy as np


def queue_after(initial: np.ndarray, batches: list[np.ndarray]) -> np.ndarray:
    queue = [row for row in initial]
    for batch in batches:
        for position, key in enumerate(batch):
            queue.insert(position, key)
        while len(queue) > len(initial):
            queue.pop()
    return np.array(queue)
