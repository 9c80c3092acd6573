"""Average linkage on a neighbour graph, link by link, with groups as lists of items."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations


def largest_lift(groups: list[list[int]], neighbors: list[list[int]]) -> Fraction:
    """The lift of the two groups that are linked most closely."""
    return max(lift(one, other, neighbors) for one, other in combinations(groups, 2))


def lift(one: list[int], other: list[int], neighbors: list[list[int]]) -> Fraction:
    """Links between two groups, both ways over two, over those that chance would put there."""
    links = Fraction(0)
    for item, row in enumerate(neighbors):
        for near in row:
            if (item in one and near in other) or (item in other and near in one):
                links += Fraction(1, 2)
    total = sum(len(row) for row in neighbors)
    chance = Fraction(len(one) * len(other) * total, len(neighbors) ** 2)
    return links / chance
