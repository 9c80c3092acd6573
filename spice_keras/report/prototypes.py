"""The prototypes of each cluster and where they look like it: figure and caption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image

from spice_keras.algorithm.heat_maps import stretched, upsampled
from spice_keras.report.chart import Caption, Chart
from spice_keras.report.formatting import quantity
from spice_keras.report.palette import INK, MUTED

MAX_CLUSTERS = 20
COLOR_MAP = "inferno"
IMAGE_SHARE = 0.6
LUMA = np.asarray([0.299, 0.587, 0.114])
TILE, GAP, MARGIN = 96, 4, 14
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class PrototypeMaps:
    """The first prototypes of each cluster with the heat map of each.

    Attributes:
        indices: [n] which image.
        clusters: [n] whose prototype it is.
        heat_maps: [n, h, w] cosine of the cluster's centre and every position of the encoder's
            last map.

    SPICE (arXiv 2103.09382) Fig. 3.
    """

    indices: npt.NDArray[np.integer[Any]]
    clusters: npt.NDArray[np.integer[Any]]
    heat_maps: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        """Refuses arrays of different images.

        Raises:
            ValueError: the arrays have different lengths, or a map is not a matrix.
        """
        lengths = (len(self.indices), len(self.clusters), len(self.heat_maps))
        if len(set(lengths)) > 1 or self.heat_maps.ndim != 3:
            raise ValueError(
                "`indices`, `clusters` and `heat_maps` [n, h, w] must describe the same images. "
                f"Received: lengths {lengths}, heat_maps.ndim={self.heat_maps.ndim}"
            )


def prototypes_chart(
    maps: PrototypeMaps, images: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int64]
) -> Chart:
    """Draws the prototypes of every cluster with their heat maps.

    Args:
        maps: the prototypes, at least one.
        images: [N, S, S, 3] images of the run; only the prototypes' rows are read.
        sizes: [K] members of each cluster.

    Returns:
        The figure "prototypes" with its caption.
    """
    figure = prototypes_figure(maps, images, sizes)
    return Chart("prototypes", "prototypes", _caption(maps, sizes), figure, is_raster=True)


def _caption(maps: PrototypeMaps, sizes: npt.NDArray[np.int64]) -> Caption:
    shown = len(shown_clusters(maps, sizes))
    height, width = maps.heat_maps.shape[1:]
    largest = f"The {MAX_CLUSTERS} largest clusters. " if shown < len(sizes) else ""
    text = (
        f"{largest}Above: the images nearest to the centre of each cluster. Below: the cosine "
        f"similarity of that centre and each of the {height} x {width} positions of the network's "
        "last feature map, from the least to the most similar position of each image. Check "
        "whether the bright part is what the cluster should be about, or the background."
    )
    alternative = (
        f"Prototypes of {quantity(shown, 'cluster')}, {quantity(len(maps.indices), 'image')} in "
        "all. Below each is a copy whose brightest part is most like the centre of its cluster."
    )
    return Caption("Prototypes and the parts that make them so", text, alternative)


def overlay(picture: Pixels, heat_map: npt.NDArray[np.float32]) -> Pixels:
    """Lays a heat map over a picture in grey, stretched between its own extremes.

    Args:
        picture: [S, S, 3].
        heat_map: [h, w] of any size.

    Returns:
        [S, S, 3], `IMAGE_SHARE` of it the picture. SPICE (arXiv 2103.09382) Fig. 3.
    """
    heat = np.clip(upsampled(stretched(heat_map[None]), picture.shape[0])[0], 0.0, 1.0)
    colors = 255 * matplotlib.colormaps[COLOR_MAP](heat)[..., :3]
    # Without its own colours, which would mix with those of the map and mean nothing in it.
    grey = (picture @ LUMA)[..., None]
    return np.rint(IMAGE_SHARE * grey + (1 - IMAGE_SHARE) * colors).astype(np.uint8)


def shown_clusters(maps: PrototypeMaps, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Names the clusters the figure has room for: the largest ones, by number."""
    present = np.unique(maps.clusters)
    largest = present[np.argsort(-sizes[present], kind="stable")[:MAX_CLUSTERS]]
    return np.sort(largest).astype(np.int64)


def prototypes_figure(
    maps: PrototypeMaps, images: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int64]
) -> Figure:
    """Draws the prototypes of every cluster, each above its heat map.

    Args:
        maps: the prototypes, at least one.
        images: [N, S, S, 3] images of the run; only the prototypes' rows are read.
        sizes: [K] members of each cluster; the largest `MAX_CLUSTERS` are drawn.

    Returns:
        A grid of clusters. SPICE (arXiv 2103.09382) Fig. 3.
    """
    clusters = shown_clusters(maps, sizes)
    rows = -(-len(clusters) // 5)
    columns = -(-len(clusters) // rows)
    most = int(np.bincount(maps.clusters)[clusters].max())
    cell = _cell(maps, images, int(clusters[0]), most)
    width = 9.0 if columns > 2 else 4.5 * columns
    height = rows * (width / columns * cell.shape[0] / cell.shape[1] + 0.22) + 0.45
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, cluster in zip(grid.flat, clusters.tolist(), strict=False):
        axes.imshow(_cell(maps, images, cluster, most), interpolation="antialiased")
        axes.set_title(f"cluster {cluster}", fontsize=9, color=INK, pad=3)
    bar = figure.colorbar(
        ScalarMappable(cmap=COLOR_MAP), ax=list(grid.flat), location="bottom", shrink=0.4,
        aspect=40, pad=0.015, ticks=[0, 1],
    )  # fmt: skip
    bar.ax.set_xticklabels(["least", "most like the centre"])
    bar.ax.tick_params(colors=MUTED, labelsize=8, length=0)
    bar.outline.set_visible(False)
    return figure


def _cell(maps: PrototypeMaps, images: npt.NDArray[np.uint8], cluster: int, most: int) -> Pixels:
    """One cluster: its prototypes in a row, the same with heat maps below; white where fewer."""
    cell = np.full((2 * TILE + GAP, most * (TILE + GAP) - GAP + MARGIN, 3), 255, np.uint8)
    for place, row in enumerate(np.flatnonzero(maps.clusters == cluster)):
        picture = tile(images[int(maps.indices[row])])
        left = MARGIN // 2 + place * (TILE + GAP)
        cell[:TILE, left : left + TILE] = picture
        cell[TILE + GAP :, left : left + TILE] = overlay(picture, maps.heat_maps[row])
    return cell


def tile(image: Pixels) -> Pixels:
    """Brings a picture to the side of a tile: hard edges for tiny ones, smooth for others."""
    smooth = image.shape[0] > TILE // 2
    method = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    picture = Image.fromarray(np.ascontiguousarray(image)).resize((TILE, TILE), method)
    return np.asarray(picture)
