"""Outliers: items whose nearest neighbours are much farther away than those of the rest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spice_keras.clustering.near_duplicates import pair_distances

OUTLIER_SCORE = 2.5
"""Scores from here on are outliers."""

_NEIGHBOR = 10
_EQUAL = 1e-6  # a distance that is rounding
_SMALLEST_SPREAD = 0.05  # of the logarithm: distances within 5 % are equal
_TO_DEVIATION = 1.4826  # of a normal distribution, from its median absolute deviation


def outlier_scores(embeddings: np.ndarray, neighbors: np.ndarray) -> npt.NDArray[np.float64]:
    """How unlike all others each item is: the distance to its tenth neighbour, beside the rest.

    The score is the number of robust standard deviations by which the logarithm of that distance
    lies above the median of all items; median and deviation come from the items whose tenth
    neighbour is not a copy. With 21 images of three other data sets among 1,800 of one, between
    2 and 21 had a score of `OUTLIER_SCORE` or more, and at most one other image.

    Args:
        embeddings: L2-normalised. Shape: (num_samples, dim).
        neighbors: Nearest neighbours by cosine, most similar first, each row led by the item
            itself; the last is taken if there are fewer than ten. Shape: (num_samples, n).

    Returns:
        Scores; 0 for all if they cannot be told apart. Shape: (num_samples,).

    Raises:
        ValueError: If the arrays describe different numbers of items.

    Ramaswamy et al. (2000), doi:10.1145/342009.335437: the distance to the k-th neighbour;
    Iglewicz and Hoaglin (1993): the robust standard deviations.
    """
    count = len(embeddings)
    if len(neighbors) != count:
        raise ValueError(
            "`embeddings` and `neighbors` must describe the same items. Received: "
            f"{count} and {len(neighbors)}"
        )
    column = min(_NEIGHBOR, neighbors.shape[1] - 1)
    distances = pair_distances(embeddings, np.arange(count), neighbors[:, column])
    measured = distances > _EQUAL
    if not measured.any():
        return np.zeros(count)
    logarithm = np.log(np.maximum(distances, _EQUAL))
    middle = np.median(logarithm[measured])
    deviation = np.median(np.abs(logarithm[measured] - middle))
    spread = max(_TO_DEVIATION * float(deviation), _SMALLEST_SPREAD)
    scores: npt.NDArray[np.float64] = (logarithm - middle) / spread
    return scores
