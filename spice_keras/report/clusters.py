"""How large the clusters are, and how much of each is reliable: figures and captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from spice_keras.report.chart import MAX_LABELS, Caption, Chart, plain_axes
from spice_keras.report.clustering import Clustering, Noun
from spice_keras.report.formatting import percent, quantity
from spice_keras.report.palette import ACCENT, FAINT, INK, LIGHT, MUTED, WARNING


def cluster_charts(clustering: Clustering, noun: Noun) -> Iterator[Chart]:
    """Draws the sizes of the clusters, and the reliable share of each.

    Args:
        clustering: the clusters.
        noun: what one item is called.

    Yields:
        "cluster_sizes" and "reliable_share".
    """
    sizes, reliable = clustering.sizes, clustering.reliable_members
    figure = cluster_sizes_figure(sizes, reliable)
    yield Chart("cluster_sizes", "sizes", _sizes_caption(clustering, noun), figure)
    figure = reliable_share_figure(sizes, reliable)
    yield Chart("reliable_share", "sizes", _share_caption(clustering), figure)


def _sizes_caption(clustering: Clustering, noun: Noun) -> Caption:
    sizes = clustering.sizes
    smallest, largest = int(sizes.argmin()), int(sizes.argmax())
    alternative = (
        f"Bar chart of {quantity(len(sizes), 'cluster')}. The largest is "
        f"{clustering.title_of(largest)} with {quantity(int(sizes[largest]), noun)}, the smallest "
        f"{clustering.title_of(smallest)} with "
        f"{quantity(int(sizes[smallest]), noun)}."
    )
    text = (
        "Lower part of a bar: members that passed the reliability thresholds. Dashed line: an "
        "equal share. Look for clusters far from that line. A very small one may be part of "
        "another cluster; a very large one may hold several groups."
    )
    if len(sizes) > MAX_LABELS:
        text += " Right: how many clusters have which size."
    return Caption("Cluster sizes", text, alternative)


def _share_caption(clustering: Clustering) -> Caption:
    sizes = clustering.sizes
    shares = clustering.reliable_members / np.maximum(sizes, 1)
    lowest = int(np.where(sizes > 0, shares, np.inf).argmin())  # an empty cluster has no share
    highest = int(shares.argmax())
    text = (
        "The share of each cluster that passed the reliability thresholds. A low bar means that "
        "many members have neighbours in other clusters: the cluster may mix several groups, or "
        "hold only part of one."
    )
    alternative = (
        f"Bar chart of {quantity(len(shares), 'cluster')}: from {percent(shares[lowest])} in "
        f"cluster {lowest} to {percent(shares[highest])} in cluster {highest}."
    )
    return Caption("Reliable share of each cluster", text, alternative)


def cluster_sizes_figure(sizes: npt.ArrayLike, reliable: npt.ArrayLike) -> Figure:
    """Draws the size of every cluster, its reliable members darker, beside an equal share.

    Args:
        sizes: [K] members of each cluster.
        reliable: [K] reliable ones among them.

    Returns:
        A bar chart; empty clusters are marked where labels fit. Beside more bars than can be
        labelled, a histogram of the sizes.
    """
    totals, certain = np.asarray(sizes, dtype=np.int64), np.asarray(reliable, dtype=np.int64)
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    many = len(totals) > MAX_LABELS
    axes, *beside = figure.subplots(1, 1 + many, squeeze=False, width_ratios=[2, 1][: 1 + many])[0]
    plain_axes(axes, grid="y")
    positions = np.arange(len(totals))
    axes.bar(positions, totals, width=0.78, color=LIGHT, label="all members")
    axes.bar(positions, certain, width=0.78, color=ACCENT, label="reliable members")
    if len(totals):
        share = totals.sum() / len(totals)
        axes.axhline(share, color=INK, linewidth=1, linestyle="--", label=f"equal share: {share:g}")
    if not many:
        axes.set_xticks(positions)
        _label_bars(axes, totals)
    for histogram in beside:
        _draw_histogram(histogram, totals)
    axes.set_xlim(-0.7, max(len(totals), 1) - 0.3)
    axes.set_ylim(0, max(int(totals.max(initial=0)), 1) * 1.12)
    axes.set_xlabel("cluster", color=INK)
    axes.set_ylabel("members", color=INK)
    figure.legend(loc="outside upper right", ncols=3, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _draw_histogram(axes: Axes, totals: npt.NDArray[np.int64]) -> None:
    """Draws how many clusters have which size."""
    plain_axes(axes, grid="y")
    axes.hist(totals, bins=20, range=(0, max(int(totals.max(initial=0)), 1)), color=LIGHT)
    axes.axvline(totals.mean(), color=INK, linewidth=1, linestyle="--")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("members", color=INK)
    axes.set_ylabel("clusters", color=INK)


def reliable_share_figure(sizes: npt.ArrayLike, reliable: npt.ArrayLike) -> Figure:
    """Draws the share of reliable members of every cluster beside the share of all.

    Args:
        sizes: [K] members of each cluster.
        reliable: [K] reliable ones among them.

    Returns:
        A bar chart in percent; an empty cluster has no bar. SPICE (arXiv 2103.09382) Sec. 3.3.
    """
    totals, certain = np.asarray(sizes, dtype=np.int64), np.asarray(reliable, dtype=np.int64)
    shares = 100 * certain / np.maximum(totals, 1)
    overall = 100 * certain.sum() / max(int(totals.sum()), 1)
    figure = Figure(figsize=(9.0, 3.2), layout="constrained")
    axes = figure.add_subplot()
    plain_axes(axes, grid="y")
    positions = np.arange(len(totals))
    axes.bar(positions, np.where(totals > 0, 100, 0), width=0.78, color=FAINT)
    axes.bar(positions, shares, width=0.78, color=ACCENT)
    axes.axhline(
        overall, color=INK, linewidth=1, linestyle="--", label=f"all clusters: {overall:.0f} %"
    )
    if len(totals) <= MAX_LABELS:
        axes.set_xticks(positions)
        texts = [
            f"{share:.0f}" if total else "" for share, total in zip(shares, totals, strict=True)
        ]
        _write_above(axes, shares, texts, MUTED)
    axes.set_xlim(-0.7, max(len(totals), 1) - 0.3)
    axes.set_ylim(0, 112)
    axes.set_yticks(range(0, 101, 25))
    axes.set_xlabel("cluster", color=INK)
    axes.set_ylabel("reliable members, %", color=INK)
    figure.legend(loc="outside upper right", frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _label_bars(axes: Axes, totals: npt.NDArray[np.int64]) -> None:
    """Writes the size above every bar, and 'empty' where there is no bar."""
    empty = totals == 0
    sizes = [f"{total:,}" if total else "" for total in totals]
    _write_above(axes, totals, sizes, MUTED)
    _write_above(axes, totals, ["empty" if none else "" for none in empty], WARNING)


def _write_above(axes: Axes, heights: npt.NDArray[Any], texts: Sequence[str], color: str) -> None:
    """Writes a text above each bar that has one."""
    for position, (height, text) in enumerate(zip(heights, texts, strict=True)):
        if text:
            axes.annotate(
                text,
                (position, float(height)),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                color=color,
                fontsize=8 if len(texts) <= 20 else 6.5,
                bbox={"boxstyle": "square,pad=0.12", "facecolor": "white", "edgecolor": "none"},
            )
