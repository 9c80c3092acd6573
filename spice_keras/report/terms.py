"""What the terms of the report mean, in a sentence each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spice_keras.report.clustering import Noun

TERMS: Mapping[str, tuple[str, str]] = {
    "reliable": (
        "Reliable",
        "said of {item}s that share their cluster with almost all of their nearest neighbours, "
        "with high confidence; the thresholds are listed below.",
    ),
    "confidence": ("Confidence", "the probability that the model gives to the cluster it chose."),
    "local_consistency": (
        "Local consistency",
        "the share of the nearest neighbours that are in the same cluster, averaged over all "
        "{item}s. The neighbours of each are the {item}s with the most similar embeddings, the "
        "vectors by which an encoder describes them.",
    ),
    "acc": (
        "ACC",
        "accuracy, the share of {item}s in the right class after the best one-to-one matching of "
        "clusters to classes.",
    ),
    "balanced_acc": (
        "Balanced ACC",
        "the same share, taken for each class and averaged over the classes, so that small ones "
        "count as much as large ones.",
    ),
    "nmi": (
        "NMI",
        "normalised mutual information, how much the clusters reveal about the classes: from 0 "
        "(nothing) to 1 (everything), normalised by the geometric mean.",
    ),
    "nmi_arithmetic": ("NMI (arith.)", "the same, normalised by the arithmetic mean."),
    "ari": (
        "ARI",
        "adjusted Rand index, how often two {item}s are together in both clusters and classes or "
        "apart in both: 1 is identical, 0 is chance.",
    ),
    "purity": ("Purity", "the share of {item}s that belong to the largest class of their cluster."),
    "silhouette": (
        "Silhouette",
        "how much closer {item}s are to their own cluster than to the next, by the cosine distance "
        "of embeddings: 1 is well apart, 0 overlaps, below 0 is closer to another cluster.",
    ),
    "head_agreement": (
        "Head agreement",
        "how alike the clustering heads of the run cluster: the mean ARI of every two heads.",
    ),
    "size_balance": (
        "Size balance",
        "the normalised entropy of the cluster sizes: 1 if all are equal, 0 if one cluster holds "
        "everything.",
    ),
}


def explained(terms: Iterable[str], noun: Noun) -> list[tuple[str, str]]:
    """Explains terms in the words of a run.

    Args:
        terms: keys of ``TERMS``.
        noun: what one item is called.

    Returns:
        Name and explanation of each.
    """
    return [(TERMS[term][0], TERMS[term][1].format(item=noun)) for term in terms]
