from __future__ import annotations

import numpy as np
import pytest

from spice_keras.report.prototypes import (
    IMAGE_SHARE,
    MAX_CLUSTERS,
    TILE,
    PrototypeMaps,
    overlay,
    prototypes_figure,
    shown_clusters,
    tile,
)


def _maps(clusters: np.ndarray, side: int = 3) -> PrototypeMaps:
    maps = np.random.default_rng(0).uniform(size=(len(clusters), side, side))
    return PrototypeMaps(np.arange(len(clusters)), clusters, maps.astype(np.float32))


def test_the_picture_shows_through_and_the_best_position_is_brightest() -> None:
    picture = np.full((30, 30, 3), 200, np.uint8)
    heat = np.zeros((3, 3), np.float32)
    heat[2, 0] = 0.4
    shown = overlay(picture, heat).astype(float)
    brightness = shown.sum(axis=2)
    row, column = np.unravel_index(int(brightness.argmax()), brightness.shape)
    assert row >= 20
    assert column < 10
    # The least alike position is black in the colour map: only the picture's share is left.
    np.testing.assert_allclose(shown[0, -1], IMAGE_SHARE * 200, atol=2)


def test_the_colours_are_those_of_the_map_alone() -> None:
    heat = np.arange(4, dtype=np.float32).reshape(2, 2)
    red, grey = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 76, np.uint8)
    red[..., 0] = 255  # as bright as this grey
    np.testing.assert_allclose(
        overlay(red, heat).astype(int), overlay(grey, heat).astype(int), atol=1
    )


def test_a_flat_map_adds_no_pattern() -> None:
    picture = np.full((8, 8, 3), 100, np.uint8)
    shown = overlay(picture, np.full((2, 2), 0.3, np.float32))
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize("side", [1, 8, 28, 96, 224])
def test_pictures_of_any_size_become_tiles(side: int) -> None:
    image = np.full((side, side, 3), (10, 200, 30), np.uint8)
    assert tile(image).shape == (TILE, TILE, 3)
    np.testing.assert_array_equal(tile(image)[TILE // 2, TILE // 2], (10, 200, 30))


def test_each_cluster_has_a_place_and_the_fewest_images_leave_white() -> None:
    images = np.zeros((7, 8, 8, 3), np.uint8)
    figure = prototypes_figure(_maps(np.array([0, 0, 0, 2, 2, 2, 5])), images, np.ones(6, int))
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["cluster 0", "cluster 2", "cluster 5"]
    cells = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    assert (cells[0][5, -TILE] != 255).any()
    assert (cells[2][5, -TILE] == 255).all()


def test_only_the_largest_clusters_are_drawn() -> None:
    sizes = np.arange(50)
    maps = _maps(np.arange(50))
    assert shown_clusters(maps, sizes).tolist() == [*range(50 - MAX_CLUSTERS, 50)]
    figure = prototypes_figure(maps, np.zeros((50, 4, 4, 3), np.uint8), sizes)
    assert sum(bool(axes.get_title()) for axes in figure.axes) == MAX_CLUSTERS


def test_maps_of_other_images_are_refused() -> None:
    indices, clusters = np.arange(3), np.zeros(3, int)
    PrototypeMaps(indices, clusters, np.zeros((3, 2, 2), np.float32))
    for maps in (np.zeros((2, 2, 2), np.float32), np.zeros((3, 4), np.float32)):
        with pytest.raises(ValueError, match="Received: lengths"):
            PrototypeMaps(indices, clusters, maps)
