"""ACC, purity, NMI and ARI by brute force: all matchings, all pairs, entropies by counting."""

from __future__ import annotations

import math
from itertools import combinations, permutations


def clustering_accuracy(labels: list[int], clusters: list[int]) -> float:
    """Best one-to-one renaming, over every permutation of ids; for a handful of ids."""
    num_ids = max(*labels, *clusters) + 1
    return max(
        sum(renamed[cluster] == label for label, cluster in zip(labels, clusters, strict=True))
        for renamed in permutations(range(num_ids))
    ) / len(labels)


def balanced_accuracy(labels: list[int], clusters: list[int]) -> float:
    """Best one-to-one renaming of the mean share of each class, over every permutation of ids."""
    num_ids = max(*labels, *clusters) + 1
    pairs = list(zip(labels, clusters, strict=True))
    classes = sorted(set(labels))
    return max(
        sum(
            sum(label == one == renamed[cluster] for label, cluster in pairs) / labels.count(one)
            for one in classes
        )
        / len(classes)
        for renamed in permutations(range(num_ids))
    )


def purity(labels: list[int], clusters: list[int]) -> float:
    agreeing = 0
    for cluster in set(clusters):
        members = [label for label, other in zip(labels, clusters, strict=True) if other == cluster]
        agreeing += max(members.count(label) for label in members)
    return agreeing / len(labels)


def entropy(ids: list) -> float:
    shares = [ids.count(one) / len(ids) for one in set(ids)]
    return -sum(share * math.log(share) for share in shares)


def normalized_mutual_information(labels: list[int], clusters: list[int], average: str) -> float:
    """Both partitions need at least two parts."""
    joint = entropy(list(zip(labels, clusters, strict=True)))
    one, other = entropy(labels), entropy(clusters)
    mean = math.sqrt(one * other) if average == "geometric" else (one + other) / 2
    return (one + other - joint) / mean


def adjusted_rand_index(labels: list[int], clusters: list[int]) -> float:
    """From all pairs of samples; both partitions must split or join at least one pair."""
    pairs = list(combinations(range(len(labels)), 2))
    same_label = [labels[i] == labels[j] for i, j in pairs]
    same_cluster = [clusters[i] == clusters[j] for i, j in pairs]
    together = sum(a and b for a, b in zip(same_label, same_cluster, strict=True))
    expected = sum(same_label) * sum(same_cluster) / len(pairs)
    largest = (sum(same_label) + sum(same_cluster)) / 2
    return (together - expected) / (largest - expected)
