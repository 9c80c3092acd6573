"""Near-duplicates equal a loop over pairs; copies are found, and nothing else is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spice_keras.clustering import near_duplicates as module
from spice_keras.clustering.near_duplicates import near_duplicates, usual_distance
from spice_keras.clustering.neighbors import nearest_neighbors
from tests.algorithm.arrays import unit_rows
from tests.reference import unusual as reference


def _copied(seed: int, distinct: int, copies: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of which some are copied with a little noise, and their neighbours."""
    generator = np.random.default_rng(seed)
    base = unit_rows(generator, distinct, 6)
    rows = base[generator.integers(0, distinct, copies)]
    rows = rows + noise * generator.normal(size=rows.shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    embeddings = np.concatenate([base, rows]).astype(np.float32)
    return embeddings, nearest_neighbors(embeddings, min(12, len(embeddings)))


def _pictures(seed: int, count: int, side: int = 32) -> np.ndarray:
    """Smooth pictures: coarse noise, enlarged."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3), np.uint8)
    pictures = [
        np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))
        for picture in coarse
    ]
    return np.stack(pictures)


@given(
    seed=st.integers(0, 999),
    distinct=st.integers(1, 20),
    copies=st.integers(0, 6),
    noise=st.sampled_from([0.0, 0.01, 0.3]),
    with_images=st.booleans(),
)
def test_equals_a_loop_over_pairs(
    seed: int, distinct: int, copies: int, noise: float, with_images: bool
) -> None:
    embeddings, neighbors = _copied(seed, distinct, copies, noise)
    images = None
    if with_images:
        chosen = np.random.default_rng(seed).integers(0, distinct, len(embeddings))
        images = _pictures(seed, distinct)[chosen]
    found = near_duplicates(embeddings, neighbors, images)
    assert found.dtype == np.int32
    assert found.tolist() == reference.near_duplicates(embeddings, neighbors, images)


@given(seed=st.integers(0, 999), distinct=st.integers(12, 20), copies=st.integers(0, 6))
def test_exact_copies_are_grouped_with_what_they_copy(
    seed: int, distinct: int, copies: int
) -> None:
    embeddings, neighbors = _copied(seed, distinct, copies, 0.0)
    found = near_duplicates(embeddings, neighbors)
    for copy in embeddings[distinct:]:
        same = np.flatnonzero((embeddings == copy).all(axis=1))
        assert len(set(found[same].tolist())) == 1
        assert found[same[0]] >= 0


@given(seed=st.integers(0, 999), copies=st.integers(0, 6), noise=st.sampled_from([0.0, 0.01]))
def test_groups_are_numbered_by_their_first_items(seed: int, copies: int, noise: float) -> None:
    found = near_duplicates(*_copied(seed, 15, copies, noise))
    firsts = [found.tolist().index(number) for number in range(found.max() + 1)]
    assert firsts == sorted(firsts)
    assert all((found == number).sum() > 1 for number in range(found.max() + 1))


@given(seed=st.integers(0, 999))
def test_the_order_of_items_changes_nothing(seed: int) -> None:
    embeddings, _ = _copied(seed, 15, 5, 0.01)
    order = np.random.default_rng(seed).permutation(len(embeddings))

    def pairs(rows: np.ndarray) -> np.ndarray:
        groups = near_duplicates(rows, nearest_neighbors(rows, 12))
        return (groups[:, None] == groups) & (groups[:, None] >= 0)

    np.testing.assert_array_equal(pairs(embeddings[order]), pairs(embeddings)[order][:, order])


def _jpeg(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=30)
    return np.asarray(Image.open(buffer))


def test_pixels_find_altered_copies_and_refuse_other_pictures() -> None:
    """Embeddings that are near but not very near: pictures decide."""
    images = _pictures(0, 40, 64)
    brighter = np.clip(images[1] * 1.2 + 10, 0, 255).astype(np.uint8)
    smaller = Image.fromarray(images[2]).resize((24, 24)).resize((64, 64))
    altered = [_jpeg(images[0]), brighter, np.asarray(smaller)]
    images = np.concatenate([images, altered, _pictures(1, 1, 64)])
    generator = np.random.default_rng(0)
    base = unit_rows(generator, 40, 12)
    near = base[[0, 1, 2, 3]] + 0.1 * generator.normal(size=(4, 12))
    embeddings = np.concatenate([base, near / np.linalg.norm(near, axis=1, keepdims=True)])
    neighbors = nearest_neighbors(embeddings, 12)
    found = near_duplicates(embeddings, neighbors, images)
    assert found[[0, 1, 2, 40, 41, 42]].tolist() == [0, 1, 2, 0, 1, 2]
    assert (found >= 0).sum() == 6


def test_flat_pictures_are_the_same_whatever_their_noise() -> None:
    generator = np.random.default_rng(0)
    images = _pictures(0, 30)
    images[:3] = 120 + generator.integers(-1, 2, (3, 32, 32, 3))
    embeddings = unit_rows(generator, 30, 8)
    embeddings[:3] = embeddings[0]
    found = near_duplicates(embeddings, nearest_neighbors(embeddings, 12), images)
    assert np.flatnonzero(found >= 0).tolist() == [0, 1, 2]


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, neighbors = _copied(3, 20, 8, 0.01)
    whole = near_duplicates(embeddings, neighbors)
    assert whole.max() >= 0
    monkeypatch.setattr(module, "_BLOCK", 3)
    np.testing.assert_array_equal(near_duplicates(embeddings, neighbors), whole)


def test_one_item_or_no_neighbour_is_alone() -> None:
    one = np.ones((1, 1), np.float32)
    assert near_duplicates(one, np.zeros((1, 1), np.int32)).tolist() == [-1]
    two = np.ones((2, 1), np.float32)
    assert near_duplicates(two, np.arange(2)[:, None]).tolist() == [-1, -1]


def test_the_usual_distance_is_that_of_the_tenth_neighbour() -> None:
    angles = np.arange(40) * 0.01
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    neighbors = nearest_neighbors(circle, 15)
    assert usual_distance(circle, neighbors) == pytest.approx(1 - np.cos(0.05), rel=1e-3)


def test_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match="Received: 3, 2 and None"):
        near_duplicates(np.eye(3), np.zeros((2, 2), np.int32))
    with pytest.raises(ValueError, match="Received: 3, 3 and 2"):
        near_duplicates(np.eye(3), np.zeros((3, 2), np.int32), np.zeros((2, 4, 4, 3), np.uint8))
