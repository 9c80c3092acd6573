"""Slow twin of the figures of each cluster: sets and counting."""

from __future__ import annotations

from typing import Any


def cluster_links(
    clusters: list[int], neighbors: list[list[int]], heads: list[list[int]], num_clusters: int
) -> list[dict[str, Any] | None]:
    found: list[dict[str, Any] | None] = []
    for cluster in range(num_clusters):
        members = {item for item, own in enumerate(clusters) if own == cluster}
        if not members:
            found.append(None)
            continue
        theirs = [clusters[other] for item in members for other in neighbors[item]]
        shares = {other: theirs.count(other) / len(theirs) for other in range(num_clusters)}
        outside = max((shares[o] for o in shares if o != cluster), default=0.0)
        jaccards, splits = [], 0
        for head in heads:
            sets = {other: {i for i, c in enumerate(head) if c == other} for other in set(head)}
            jaccards.append(max(len(members & s) / len(members | s) for s in sets.values()))
            overlaps = sorted((len(members & s) for s in sets.values()), reverse=True)
            splits += len(overlaps) > 1 and overlaps[1] >= len(members) / 4
        found.append(
            {
                "kept": shares[cluster],
                "mixed_share": outside,
                "stability": sum(jaccards) / len(heads) if heads else None,
                "split_share": splits / len(heads) if heads else None,
            }
        )
    return found
