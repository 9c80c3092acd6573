"""Modularity and coding length by walking every link of the neighbour graph."""

from __future__ import annotations

import math


def modularity(clusters: list[int], neighbors: list[list[int]]) -> float:
    """Share of links inside clusters, minus the share expected of links between any two items."""
    links = inside = 0
    for item, row in enumerate(neighbors):
        for other in row:
            links += 1
            inside += clusters[item] == clusters[other]
    pairs = [(one, other) for one in clusters for other in clusters]
    return inside / links - sum(one == other for one, other in pairs) / len(pairs)


def largest_modularity(num_clusters: int) -> float:
    """Of as many pairs of items, each pair linked both ways and a cluster of its own."""
    items = range(2 * num_clusters)
    return modularity([item // 2 for item in items], [[item ^ 1] for item in items])


def coding_length(clusters: list[int], neighbors: list[list[int]]) -> float:
    """Bits for each link: the item's cluster, inside or not, which item of those that remain."""
    count, links, inside, bits = len(clusters), 0, 0, 0.0
    for item, row in enumerate(neighbors):
        size = clusters.count(clusters[item])
        bits -= math.log2(size / count)
        for other in row:
            links += 1
            if clusters[other] == clusters[item]:
                inside += 1
                bits += math.log2(size)
            else:
                bits += math.log2(count - size)
    for number in (inside, links - inside):
        if number:
            bits -= number * math.log2(number / links)
    return bits / links
