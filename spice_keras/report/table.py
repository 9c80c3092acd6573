"""The result table, shared by the HTML report and the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from spice_keras.report.formatting import decimal
from spice_keras.report.terms import TERMS

METHOD_NAMES: Mapping[str, str] = {
    "semi": "SPICE-Semi",
    "self": "SPICE-Self",
    "kmeans_embeddings": "k-means on embeddings",
    "kmeans_pixels": "k-means on pixels",
}

_FINAL_METHODS = ("semi", "self")

COLUMNS: Mapping[str, str] = {
    figure: TERMS[figure][0]
    for figure in (
        "acc", "balanced_acc", "nmi", "nmi_arithmetic", "ari", "purity", "local_consistency",
        "silhouette", "head_agreement", "size_balance",
    )
}  # fmt: skip

# What a terminal of 80 characters shows.
SHORT_COLUMNS: Mapping[str, str] = {
    "acc": "ACC", "balanced_acc": "bACC", "nmi": "NMI", "ari": "ARI", "purity": "Pur.",
    "local_consistency": "Cons.", "silhouette": "Silh.", "head_agreement": "Agree",
    "size_balance": "Bal.",
}  # fmt: skip
SHORT_HEADER: tuple[str, ...] = ("Method", *SHORT_COLUMNS.values())


def method_name(method: str, metrics: Mapping[str, Any]) -> str:
    """Names a method as the tables do.

    Self-labelling is called SPICE-Self only with the paper's objective. SPICE-Semi is called
    FixMatch if it was trained on true labels.

    Args:
        method: A key of ``METHOD_NAMES``.
        metrics: Figures of each method of the run.

    Returns:
        The name.
    """
    figures = metrics.get(method) or {}
    if figures.get("labels_from") == "source":
        return "FixMatch, true labels"
    objective = figures.get("objective", "prototypes")
    return METHOD_NAMES[method] if objective == "prototypes" else f"Heads ({objective})"


def final_method(metrics: Mapping[str, Any]) -> str | None:
    """Names the method whose clusters a run ends with.

    Args:
        metrics: figures of each method.

    Returns:
        "semi" if SPICE-Semi was measured, else "self", else None.
    """
    return next((method for method in _FINAL_METHODS if metrics.get(method)), None)


def result_rows(
    metrics: Mapping[str, Any], columns: Iterable[str] = tuple(COLUMNS)
) -> list[list[str]]:
    """Writes the figures of every method that was measured, the last stage of the paper first.

    ACC, balanced ACC, NMI, ARI and purity need labels and are an en dash without them; the other
    columns need none. All lie in [0, 1], except ARI, silhouette and head agreement, which may be
    negative.

    Args:
        metrics: method ("semi", "self", "kmeans_embeddings", "kmeans_pixels") to its figures; a
            method that is absent or None has no row.
        columns: the figures, in order.

    Returns:
        One list of strings per method: its name, then the figures.
    """
    return [
        [method_name(method, metrics), *(decimal(metrics[method].get(key)) for key in columns)]
        for method in METHOD_NAMES
        if metrics.get(method)
    ]
