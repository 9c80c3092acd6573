"""The result table, shared by the HTML report and the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spice_keras.report.formatting import decimal

METHOD_NAMES: Mapping[str, str] = {
    "semi": "SPICE-Semi",
    "self": "SPICE-Self",
    "kmeans_embeddings": "k-means on embeddings",
    "kmeans_pixels": "k-means on pixels",
}

COLUMNS: Mapping[str, str] = {
    "acc": "ACC",
    "nmi": "NMI",
    "nmi_arithmetic": "NMI (arith.)",
    "ari": "ARI",
    "purity": "Purity",
    "local_consistency": "Local consistency",
    "silhouette": "Silhouette",
    "head_agreement": "Head agreement",
    "size_balance": "Size balance",
}

RESULT_HEADER: tuple[str, ...] = ("Method", *COLUMNS.values())

# The same columns for a terminal of 80 characters.
SHORT_HEADER: tuple[str, ...] = (
    "Method", "ACC", "NMI", "NMIa", "ARI", "Pur.", "Cons.", "Silh.", "Agree", "Bal."
)  # fmt: skip


def method_name(method: str, metrics: Mapping[str, Any]) -> str:
    """Names a method as the tables do.

    Self-labelling is SPICE-Self with the paper's objective, and SPICE-Semi FixMatch where it was
    trained on true labels.

    Args:
        method: A key of ``METHOD_NAMES``.
        metrics: The run's figures.

    Returns:
        The name.
    """
    figures = metrics.get(method) or {}
    if figures.get("labels_from") == "source":
        return "FixMatch, true labels"
    objective = figures.get("objective", "prototypes")
    return METHOD_NAMES[method] if objective == "prototypes" else f"Heads ({objective})"


def result_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Writes the figures of every method that was measured, best method of the paper first.

    ACC, NMI, ARI and purity need labels and are an en dash without them; the other columns are
    computed without them. All lie in [0, 1], except ARI, silhouette and head agreement,
    which may be negative.

    Args:
        metrics: method ("semi", "self", "kmeans_embeddings", "kmeans_pixels") to its figures; a
            method that is absent or None has no row.

    Returns:
        One list of strings per method, in the order of `RESULT_HEADER`.
    """
    return [
        [method_name(method, metrics), *(decimal(metrics[method].get(key)) for key in COLUMNS)]
        for method in METHOD_NAMES
        if metrics.get(method)
    ]
