"""Near-duplicates and outliers of a run: found, and written as tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spice_keras.clustering.near_duplicates import near_duplicates
from spice_keras.clustering.outliers import OUTLIER_SCORE, outlier_scores
from spice_keras.files import write_csv
from spice_keras.report.unusual import Unusual
from spice_keras.run.context import Context
from spice_keras.run.results import FinalResult


def find_unusual(context: Context) -> Unusual:
    """Find the near-duplicates and outliers of a run's items on its neighbour graph.

    Args:
        context: The run, or its test part; its embeddings and their neighbours are there.

    Returns:
        Group and score of each item.
    """
    bank = context.bank
    images = context.images if context.has_images else None
    return Unusual(
        near_duplicates(bank.normalized, bank.neighbors, images),
        outlier_scores(bank.normalized, bank.neighbors),
        OUTLIER_SCORE,
    )


def write_unusual(found: Sequence[tuple[Context, FinalResult, Unusual]]) -> None:
    """Write duplicates.csv, by group, and outliers.csv, the highest score first.

    Args:
        found: What is reported, its clustering, and what is unusual in it. If the data has parts,
            the last column names each image's; no group spans what is reported apart.
    """
    context = found[0][0]
    part_header = ["part"] if context.has_parts else []
    groups: list[list[str | int]] = []
    outliers: list[list[str | int]] = []
    before = 0
    for part, result, unusual in found:
        roles = [[role] for role, rows in part.parts.items() for _ in part.ids[rows]]
        clusters = result.clusters.tolist()
        for row in np.argsort(unusual.groups, kind="stable").tolist():
            if unusual.groups[row] >= 0:
                own = [part.ids[row], before + int(unusual.groups[row]), clusters[row]]
                groups.append(own + (roles[row] if part_header else []))
        for row in unusual.outliers.tolist():
            own = [part.ids[row], f"{unusual.scores[row]:.3f}", clusters[row]]
            outliers.append(own + (roles[row] if part_header else []))
        before += unusual.num_groups
    folder = context.run.path
    write_csv(folder / "duplicates.csv", ["image", "group", "cluster", *part_header], groups)
    write_csv(folder / "outliers.csv", ["image", "score", "cluster", *part_header], outliers)
