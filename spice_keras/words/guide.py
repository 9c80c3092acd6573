"""Whether the words of a vocabulary should guide the clusters, or only name them."""

from __future__ import annotations

GUIDE_LIMIT = 0.33
"""The smallest fit with which words guide, for features of `efficientnet_lite0` at 224 pixels."""


def vocabulary_guides(fit: float, limit: float = GUIDE_LIMIT) -> bool:
    """Decide without labels whether clusters should be made with the words.

    If the vocabulary has a word for most images, clusters that begin at K covering words are far
    better than those of the images alone; if it has none, they are far worse.

    Args:
        fit: Median over the images of the largest word probability, in [0, 1], as
            `spice_keras.words.naming.WordEvidence` holds it.
        limit: The smallest fit with which words guide. It depends on the vocabulary: the more
            words there are, the lower probabilities are.

    Returns:
        Whether they guide. If not, words only name the clusters.

    Raises:
        ValueError: If the fit is not a probability.

    Example:
        >>> vocabulary_guides(0.6), vocabulary_guides(0.2)
        (True, False)
    """
    if not 0.0 <= fit <= 1.0:
        raise ValueError(f"`fit` is a probability, from 0 to 1. Received: fit={fit}")
    return fit >= limit
