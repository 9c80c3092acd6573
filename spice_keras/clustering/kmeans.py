"""k-means, the clustering that SPICE has to beat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits

from spice_keras.clustering.reduction import reduced_images
from spice_keras.scratch import gathered, row_blocks

LARGEST_FULL_KMEANS = 20_000
# Its OpenMP threads spin while they wait: on two cores that other work shares, 1,800 x 1280 took
# 13 to 15 s with both and 0.7 to 1.2 s with one (scikit-learn 1.9, interleaved).
_THREADS = 1
_ROWS = 2**14  # a multiple of scikit-learn's own blocks: the same clusters to the bit
_PIXEL_SIDE = 32  # beyond it, k-means on pixels would be fitted on few images: 111 of 224 px


def kmeans_clusters(
    features: np.ndarray,
    num_clusters: int,
    *,
    seed: int,
    num_init: int = 10,
    max_samples: int | None = None,
    classified: np.ndarray | None = None,
) -> npt.NDArray[np.int32]:
    """Clusters of k-means on features or on pixels, the baseline of the paper's Table 4.

    Centres are fitted with Lloyd's algorithm, or with mini-batches above 20,000 items, where
    that would take minutes; every item then goes to its nearest centre.

    Args:
        features: One vector an item. Shape: (num_samples, dim).
        num_clusters: K, between 1 and the number of fitted items.
        seed: Seed of the starts and of the draw of `max_samples`.
        num_init: Starts, of which the one with the smallest inertia is kept.
        max_samples: Fit the centres on at most as many items, drawn at random; None for all.
        classified: Other items, that go to their nearest centre in place of the fitted ones.

    Returns:
        Cluster of each item, in 0..num_clusters-1. Shape: (num_samples,).

    Raises:
        ValueError: If the shape is not a matrix or there are fewer items than clusters.

    SPICE (arXiv 2103.09382) Table 4, row "k-means".
    """
    features = np.asarray(features)
    if features.ndim != 2:
        raise ValueError(f"`features` must be (num_samples, dim). Received: {features.shape=}")
    features = features.astype(np.float32, copy=False)
    fitted = features
    if max_samples is not None and len(features) > max_samples:
        drawn = np.random.default_rng(seed).choice(len(features), max_samples, replace=False)
        fitted = gathered(features, drawn)
    if not 1 <= num_clusters <= len(fitted):
        raise ValueError(
            "`num_clusters` must lie between 1 and the number of fitted items. "
            f"Received: {num_clusters=}, fitted={len(fitted)}"
        )
    estimator = MiniBatchKMeans if len(fitted) > LARGEST_FULL_KMEANS else KMeans
    model = estimator(n_clusters=num_clusters, n_init=num_init, random_state=seed)
    with threadpool_limits(_THREADS):
        model.fit(fitted)
        asked = features if classified is None else classified.astype(np.float32, copy=False)
        clusters = np.empty(len(asked), np.int32)
        for rows in row_blocks(asked, _ROWS):
            clusters[rows] = model.predict(asked[rows])
    return clusters


def pixel_kmeans_clusters(
    images: np.ndarray,
    num_clusters: int,
    *,
    seed: int,
    num_init: int = 10,
    memory_bytes: int = 2**26,
    classified: np.ndarray | None = None,
) -> npt.NDArray[np.int32]:
    """Clusters of k-means on raw pixels, without ever holding all pixels as floats.

    Images larger than 32 pixels are reduced to that side. Centres are fitted on as many images as
    fit into `memory_bytes` as float32; every image then goes to its nearest centre, block by block.

    Args:
        images: uint8, perhaps memory-mapped. Shape: (num_images, side, side, 3).
        num_clusters: K, between 1 and the number of fitted images.
        seed: Seed of the starts and of the draw of the fitted images.
        num_init: Starts, of which the one with the smallest inertia is kept.
        memory_bytes: Bytes of the fitted images' pixels.
        classified: Other images, that go to their nearest centre in place of the fitted ones.

    Returns:
        Cluster of each image, in 0..num_clusters-1. Shape: (num_images,).

    SPICE (arXiv 2103.09382) Table 4 compares with k-means; on pixels it is the floor.
    """
    count, values = len(images), min(_PIXEL_SIDE, images.shape[1]) ** 2 * images.shape[3]
    block = max(num_clusters, memory_bytes // (4 * values))
    rows = None
    if count > block:
        rows = np.sort(np.random.default_rng(seed).choice(count, block, replace=False))
    fitted = _pixels(images, rows)
    with threadpool_limits(_THREADS):
        model = KMeans(n_clusters=num_clusters, n_init=num_init, random_state=seed).fit(fitted)
        if rows is None and classified is None:
            return model.labels_.astype(np.int32)
        del fitted
        asked = images if classified is None else classified
        starts = range(0, len(asked), block)
        parts = [model.predict(_pixels(asked[start : start + block])) for start in starts]
    return np.concatenate(parts).astype(np.int32)


def _pixels(images: np.ndarray, rows: np.ndarray | None = None) -> npt.NDArray[np.float32]:
    small = reduced_images(images, _PIXEL_SIDE, rows)
    return small.reshape(len(small), -1).astype(np.float32)
