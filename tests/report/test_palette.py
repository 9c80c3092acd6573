from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from spice_keras.report.palette import (
    CURVES,
    SHAPES,
    cluster_colors,
    contrast_with_white,
    marker,
)


@pytest.mark.parametrize("num_clusters", [0, 1, 10, 11, 20, 200])
def test_every_cluster_has_a_valid_colour_of_its_own(num_clusters: int) -> None:
    colors = cluster_colors(num_clusters)
    assert len(set(colors)) == len(colors) == num_clusters
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in colors)


@pytest.mark.parametrize("num_clusters", [1, 10, 11, 20, 200])
def test_every_colour_can_be_seen_on_white(num_clusters: int) -> None:
    assert min(map(contrast_with_white, cluster_colors(num_clusters))) >= 3.0
    assert contrast_with_white("#ffffff") == pytest.approx(1.0)
    assert contrast_with_white("#000000") == pytest.approx(21.0)


def test_clusters_are_told_apart_without_their_colour() -> None:
    assert len({marker(cluster) for cluster in range(len(SHAPES))}) == len(SHAPES)
    colors = cluster_colors(100)
    looks = {(colors[cluster], marker(cluster)) for cluster in range(100)}
    assert len(looks) == 100
    assert marker(0) != marker(10)  # where ten colours begin again


# Machado, Oliveira and Fernandes (2009), full severity, on linear RGB.
SIGHTS = {
    "trichromat": np.eye(3),
    "protanope": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranope": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}
TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
          [0.0193339, 0.1191920, 0.9503041]]  # fmt: skip


def lab(color: str, sight: str) -> np.ndarray:
    """CIE L*a*b* of a colour as somebody sees it."""
    values = np.asarray([int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(SIGHTS[sight]) @ linear, 0, 1)
    x, y, z = np.asarray(TO_XYZ) @ seen / (0.95047, 1.0, 1.08883)
    a, b, c = (np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return np.asarray([116 * b - 16, 500 * (a - b), 200 * (b - c)])


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize(("colors", "distance"), [(cluster_colors(10), 29), (list(CURVES), 20)])
def test_colours_differ_for_every_sight(sight: str, colors: list[str], distance: float) -> None:
    for one, other in itertools.combinations(colors, 2):
        assert np.linalg.norm(lab(one, sight) - lab(other, sight)) > distance, (one, other)
