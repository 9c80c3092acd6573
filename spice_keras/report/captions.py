"""What each figure shows, in words: a title, a caption, and a text for who cannot see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spice_keras.report.content import ReportData
from spice_keras.report.formatting import count, decimal, percent, quantity
from spice_keras.report.training_figures import HEAD_LOSSES, curve

TRAINING = "training_"
STAGE_NAMES: Mapping[str, str] = {
    "pretrain": "Contrastive pre-training (MoCo v2)",
    "self": "Self-labelling",
    "refine": "Refinement by neighbours",
    "semi": "SPICE-Semi",
}
DOUBLE_SOFTMAX_CAPTION = (
    "The double softmax keeps the loss above the dashed line however good a head is."
)
STAGE_CAPTIONS: Mapping[str, str] = {
    "pretrain": (
        "The contrastive loss should fall below that of a random guess among the K keys of the "
        "queue, ln(K+1). It often rises first, while the queue fills. A spread near 0 means that "
        "all images have the same embedding."
    ),
    "self": (
        "Grey: every clustering head. Squares: the lowest loss of each epoch. Star: the head "
        "that was chosen, without labels."
    ),
    "refine": (
        "The heads go on with neighbour consistency: near embeddings get the same cluster. Star: "
        "the head that was chosen, without labels."
    ),
    "semi": (
        "The mask ratio is the share of unlabelled images whose weakly augmented view is confident "
        "enough to teach the strongly augmented one."
    ),
}


@dataclass(frozen=True)
class Caption:
    """Title, visible caption and alternative text of a figure."""

    title: str
    text: str
    alternative: str


def figure_caption(name: str, data: ReportData) -> Caption:
    """Describes one of the figures of `save_figures`.

    Args:
        name: name of the figure; an unknown one is described by its name alone.
        data: the run.

    Returns:
        Title, caption and alternative text; none of them is escaped.
    """
    if name.startswith(TRAINING):
        return _training_caption(name.removeprefix(TRAINING), data)
    makers = {
        "cluster_sizes": _sizes_caption,
        "embedding_map": _map_caption,
        "trust_map": _trust_caption,
        "confusion": _confusion_caption,
    }
    title = name.replace("_", " ").capitalize()
    return makers[name](data) if name in makers else Caption(title, "", title)


def _sizes_caption(data: ReportData) -> Caption:
    sizes = data.cluster_sizes
    smallest, largest = int(sizes.argmin()), int(sizes.argmax())
    alternative = (
        f"Bar chart of {quantity(data.num_clusters, 'cluster')}. The largest is cluster {largest} "
        f"with {quantity(int(sizes[largest]), data.item)}, the smallest cluster {smallest} with "
        f"{quantity(int(sizes[smallest]), data.item)}."
    )
    text = "Strong colour: members that passed the reliability thresholds. Dashed: an equal share."
    return Caption("Cluster sizes", text, alternative)


def _map_caption(data: ReportData) -> Caption:
    shown = f"{count(len(data.map_points))} of {quantity(data.num_images, data.item)}"
    where = "in the embeddings" if data.images is None else "to the network"
    text = (
        f"{shown}, projected to two dimensions by {data.map_method}. Near points are similar "
        f"{where}; distances between far groups and the areas of groups mean little."
    )
    alternative = (
        f"Scatter plot of {shown} coloured by cluster, with the number of each cluster at the "
        "median of its points."
    )
    return Caption("Embedding map by cluster", text, alternative)


def _trust_caption(data: ReportData) -> Caption:
    shown = np.asarray(data.reliable)[np.asarray(data.map_indices)]
    text = f"The same map by confidence, and with only the reliable {data.item}s in colour."
    alternative = (
        f"Two scatter plots of the same {quantity(len(shown), 'point')}: coloured by confidence, "
        f"and with the {percent(np.mean(shown))} that are reliable in the colour of their cluster."
    )
    return Caption("Where the clustering is sure", text, alternative)


def _confusion_caption(data: ReportData) -> Caption:
    matched = "" if data.confusion is None else _matched_text(data, data.confusion)
    alternative = f"Heat map of classes against clusters. {matched}"
    text = f"{matched} Labels were read for this evaluation only."
    return Caption("Classes and clusters", text, alternative)


def _matched_text(data: ReportData, confusion: np.ndarray) -> str:
    """States how many items lie on the matched pairs."""
    if data.matching is None:
        return "Clusters are ordered by their largest class."
    hits = sum(int(confusion[label, cluster]) for cluster, label in data.matching.items())
    total = int(confusion.sum())
    return (
        "Clusters are ordered so that the pairs of the Hungarian matching lie on the diagonal: "
        f"{count(hits)} of {quantity(total, data.item)} ({percent(hits / max(total, 1))}) are on "
        "it."
    )


def _training_caption(stage: str, data: ReportData) -> Caption:
    title = STAGE_NAMES.get(stage, stage)
    rows = data.history.get(stage, ())
    alternative = f"Training curves of {title} over {quantity(len(rows), 'epoch')}."
    losses = curve(rows, "loss")
    known = losses[np.isfinite(losses)]
    if len(known):
        alternative += f" The loss goes from {decimal(known[0])} to {decimal(known[-1])}."
    heads = curve(rows, HEAD_LOSSES) if stage in ("self", "refine") else np.empty(0)
    if np.isfinite(heads).any():
        alternative += f" The lowest loss of a head is {decimal(np.nanmin(heads), 4)}."
    text = STAGE_CAPTIONS.get(stage, "")
    if stage == "self" and data.objective == "prototypes":
        text += f" {DOUBLE_SOFTMAX_CAPTION}"
    return Caption(title, text, alternative)
