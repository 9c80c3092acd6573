"""What each figure shows, in words: a title, a caption, and a text for who cannot see it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spice_keras.report.caption import Caption
from spice_keras.report.cluster_figures import MAX_LABELS
from spice_keras.report.content import ReportData
from spice_keras.report.formatting import count, decimal, percent, quantity
from spice_keras.report.map_groups import map_groups
from spice_keras.report.prototype_figures import MAX_CLUSTERS, shown_clusters
from spice_keras.report.selection_captions import loss_accuracy_caption, selection_caption
from spice_keras.report.training_figures import curve

TRAINING, SELECTION = "training_", "selection_"
STAGE_NAMES: Mapping[str, str] = {
    "pretrain": "Contrastive pre-training (MoCo v2)",
    "self": "Self-labelling",
    "refine": "Refinement by neighbours",
    "semi": "SPICE-Semi",
}
STAGE_CAPTIONS: Mapping[str, str] = {
    "pretrain": (
        "The contrastive loss should fall below that of a random guess among the K keys of the "
        "queue, ln(K+1). It often rises first, while the queue fills. A spread near 0 means that "
        "all images have the same embedding."
    ),
    "self": (
        "The loss should fall and then level out. A balance that stays far below 1 means that "
        "some clusters take most of the set."
    ),
    "refine": ("The heads go on with neighbour consistency: near embeddings get the same cluster."),
    "semi": (
        "The mask ratio is the share of unlabelled images whose weakly augmented view is confident "
        "enough to teach the strongly augmented one. It should climb; where it stays low, most "
        "images teach nothing."
    ),
}


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
    if name.startswith(SELECTION):
        return selection_caption(name.removeprefix(SELECTION), data)
    makers = {
        "cluster_sizes": _sizes_caption,
        "reliable_share": _share_caption,
        "prototypes": _prototypes_caption,
        "loss_accuracy": loss_accuracy_caption,
        "embedding_map": _map_caption,
        "reliable_map": _reliable_map_caption,
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
    text = (
        "Strong colour: members that passed the reliability thresholds. Dashed: an equal share. "
        "Look for clusters far from it: very small ones may be a part of another, very large ones "
        "several groups."
    )
    if data.num_clusters > MAX_LABELS:
        text += " Right: how many clusters have which size."
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


def _reliable_map_caption(data: ReportData) -> Caption:
    groups = map_groups(data)
    colored = "cluster" if groups.names is None else "class"
    text = (
        f"The same map coloured by {colored}: (a) every {data.item}, (b) only the reliable ones, "
        "whose nearest neighbours share their cluster. Look for colours that mix in (a) and no "
        f"longer do in (b), and for groups that (b) lost: no reliable {data.item} speaks for them."
    )
    if groups.names is not None:
        text += " A class has the colour of the cluster it was matched with; ACC is of the points."
    alternative = (
        f"Two scatter plots coloured by {colored}: {groups.titles[0]}; {groups.titles[1]}."
    )
    return Caption(f"All {data.item}s and the reliable ones", text, alternative)


def _trust_caption(data: ReportData) -> Caption:
    rows = np.asarray(data.map_indices)
    apart = int((~np.asarray(data.agrees, dtype=bool)[rows]).sum())
    sure = np.asarray(data.confidence)[rows]
    text = (
        f"Left: how sure the clustering is of each {data.item}. Right: {data.item}s whose nearest "
        "neighbours are mostly in another cluster. Both should lie at the borders of groups; a "
        "whole group of them may belong elsewhere."
    )
    alternative = (
        f"Two scatter plots of the same {quantity(len(rows), 'point')}: coloured by confidence, "
        f"{percent((sure < 0.9).mean())} of them below 0.9, and with the {count(apart)} whose "
        "neighbours are mostly in another cluster marked."
    )
    return Caption("Where the clustering can be doubted", text, alternative)


def _share_caption(data: ReportData) -> Caption:
    shares = data.reliable_members / np.maximum(data.cluster_sizes, 1)
    lowest, highest = int(shares.argmin()), int(shares.argmax())
    text = (
        "Share of each cluster that passed the reliability thresholds. A low bar is a cluster "
        "whose members have neighbours elsewhere: it may mix groups, or share one with another."
    )
    alternative = (
        f"Bar chart of {quantity(data.num_clusters, 'cluster')}: from "
        f"{percent(shares[lowest])} in cluster {lowest} to {percent(shares[highest])} in cluster "
        f"{highest}."
    )
    return Caption("Reliable share of each cluster", text, alternative)


def _prototypes_caption(data: ReportData) -> Caption:
    maps = data.prototype_maps
    if maps is None:
        return Caption("Prototypes", "", "Prototypes")
    shown = len(shown_clusters(maps, data.cluster_sizes))
    height, width = maps.heat_maps.shape[1:]
    largest = f"The {MAX_CLUSTERS} largest clusters. " if shown < data.num_clusters else ""
    text = (
        f"{largest}Above: the images nearest to the centre of each cluster. Below: the cosine of "
        f"that centre and each of the {height} x {width} positions of the network's last map, from "
        "the least to the most alike within each image. Look whether the bright part is the thing "
        "the cluster should be about, or the background."
    )
    alternative = (
        f"Prototypes of {quantity(shown, 'cluster')}, {quantity(len(maps.indices), 'image')} in "
        "all, each above a copy whose brightest part is most like the centre of its cluster."
    )
    return Caption("Prototypes and what makes them so", text, alternative)


def _confusion_caption(data: ReportData) -> Caption:
    matched = "" if data.confusion is None else _matched_text(data, data.confusion)
    alternative = f"Heat map of classes against clusters. {matched}"
    text = (
        f"{matched} A dark cell beside the diagonal is a class that went into another's cluster. "
        "Labels were read for this evaluation only."
    )
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
    text = STAGE_CAPTIONS.get(stage, "")
    return Caption(title, text, alternative)
