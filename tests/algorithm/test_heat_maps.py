from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spice_keras.algorithm.heat_maps import cosine_heat_maps, stretched, upsampled
from tests.reference import heat_maps as twin


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 3),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    seed=st.integers(0, 2**16),
)
def test_equals_a_loop_over_positions(count: int, height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(count, height, width, 5)).astype(np.float32)
    centers = rng.normal(size=(count, 5)).astype(np.float32)
    found = cosine_heat_maps(maps, centers)
    np.testing.assert_allclose(found, twin.cosine_heat_maps(maps, centers), atol=1e-5)


def test_the_lengths_of_the_vectors_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, 3, 3, 4)).astype(np.float32)
    centers = rng.normal(size=(2, 4)).astype(np.float32)
    scale = rng.uniform(0.1, 9.0, (2, 3, 3, 1)).astype(np.float32)
    found = cosine_heat_maps(maps * scale, 7 * centers)
    np.testing.assert_allclose(found, cosine_heat_maps(maps, centers), atol=1e-5)


def test_a_position_like_the_centre_is_one_and_an_empty_one_is_zero() -> None:
    maps = np.array([[[[2.0, 0.0], [0.0, 0.0]], [[-1.0, 0.0], [0.0, 3.0]]]], np.float32)
    found = cosine_heat_maps(maps, np.array([[1.0, 0.0]], np.float32))
    np.testing.assert_allclose(found, [[[1.0, 0.0], [-1.0, 0.0]]])


@pytest.mark.parametrize("centers", [np.zeros((1, 4)), np.zeros((2, 3)), np.zeros(4)])
def test_shapes_of_other_images_are_refused(centers: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"Received: feature_maps\.shape"):
        cosine_heat_maps(np.zeros((2, 3, 3, 4), np.float32), centers)


def test_each_map_is_stretched_by_itself_and_a_constant_one_is_zero() -> None:
    maps = np.array([[[0.2, 0.4], [0.3, 0.2]], [[-5.0, 5.0], [0.0, 0.0]], [[0.7, 0.7]] * 2])
    found = stretched(maps.astype(np.float32))
    np.testing.assert_allclose(found[0], [[0.0, 1.0], [0.5, 0.0]], atol=1e-6)
    np.testing.assert_allclose(found[1], [[0.0, 1.0], [0.5, 0.5]], atol=1e-6)
    assert not found[2].any()


@pytest.mark.parametrize(
    ("shape", "side"), [((4, 4), 16), ((3, 5), 17), ((7, 7), 96), ((1, 1), 8), ((6, 6), 4)]
)
def test_upsampling_equals_a_loop_over_pixels(shape: tuple[int, int], side: int) -> None:
    maps = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    found = upsampled(maps, side)
    assert found.shape == (2, side, side)
    for one, heat_map in zip(found, maps, strict=True):
        np.testing.assert_allclose(one, twin.upsampled(heat_map, side), atol=1e-5)


def test_a_picture_has_a_side() -> None:
    with pytest.raises(ValueError, match="Received: side=0"):
        upsampled(np.zeros((1, 2, 2), np.float32), 0)
