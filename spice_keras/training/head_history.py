"""The history of the heads: each one's loss after every epoch, and the clusters it gave."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

MAX_BYTES = 2**25


class HeadHistory:
    """Remembers what every head was judged by and what it said, for the evaluation.

    The losses of every epoch are kept. Clusters are kept for every epoch while they fit into
    `max_bytes`, for every second, third, ... one beyond, the last epoch always among them and the
    best one beside them, and for none where one epoch alone does not fit. No label is needed, and
    none is seen: the evaluation compares the clusters with labels afterwards.

    Args:
        epochs: Epochs of the whole training.
        max_bytes: Largest size of the clusters kept, the best epoch's aside.

    SPICE (arXiv 2103.09382) Fig. 4.
    """

    def __init__(self, epochs: int, max_bytes: int = MAX_BYTES) -> None:
        self._total, self._max_bytes = epochs, max_bytes
        self._losses: dict[int, np.ndarray] = {}
        self._clusters: dict[int, np.ndarray] = {}

    def record(
        self, epoch: int, losses: np.ndarray, logits: np.ndarray, *, best: bool = False
    ) -> None:
        """Add one epoch.

        Args:
            epoch: From 0.
            losses: Of each head, [H].
            logits: Of every head for all items, [H, N, K].
            best: Whether a head of this epoch is the choice so far.
        """
        self._losses[epoch] = np.asarray(losses, np.float64)
        kind = np.min_scalar_type(logits.shape[2] - 1)
        affordable = self._max_bytes // (logits.shape[0] * logits.shape[1] * kind.itemsize)
        if not affordable:
            return
        stride = -(-self._total // affordable)
        if best:
            for former in [e for e in self._clusters if not self._is_kept(e, stride)]:
                del self._clusters[former]
        if best or self._is_kept(epoch, stride):
            self._clusters[epoch] = logits.argmax(axis=2).astype(kind)

    def _is_kept(self, epoch: int, stride: int) -> bool:
        return (self._total - 1 - epoch) % stride == 0

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the history as arrays.

        Returns:
            `losses` float64 [E, H] of the epochs `epochs` int32 [E]; `assignments` [A, H, N] of
            the epochs `kept` int32 [A], in the smallest unsigned type that holds a cluster.
            Nothing at all before the first epoch.
        """
        if not self._losses:
            return {}
        found = {
            "epochs": np.array(sorted(self._losses), np.int32),
            "losses": np.stack([self._losses[epoch] for epoch in sorted(self._losses)]),
            "kept": np.array(sorted(self._clusters), np.int32),
        }
        if self._clusters:
            clusters = [self._clusters[epoch] for epoch in sorted(self._clusters)]
            found["assignments"] = np.stack(clusters)
        return found

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take a history back from its arrays; one that was not saved stays empty."""
        if "losses" in arrays:
            epochs = arrays["epochs"].tolist()
            self._losses = dict(zip(epochs, arrays["losses"], strict=True))
        if "assignments" in arrays:
            kept = arrays["kept"].tolist()
            self._clusters = dict(zip(kept, arrays["assignments"], strict=True))
