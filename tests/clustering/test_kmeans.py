from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spice_keras.clustering import kmeans as kmeans_baseline
from spice_keras.clustering.kmeans import kmeans_clusters, pixel_kmeans_clusters
from spice_keras.metrics.clustering import clustering_accuracy


def blobs(num_each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    groups = np.repeat(np.arange(4), num_each)
    noise = 0.1 * np.random.default_rng(seed).standard_normal((len(groups), 4))
    return np.eye(4)[groups] + noise, groups


def test_finds_separated_groups() -> None:
    points, groups = blobs(25)
    clusters = kmeans_clusters(points, 4, seed=0)
    assert clusters.dtype == np.int32
    assert clusters.shape == (100,)
    assert clustering_accuracy(groups, clusters) == 1.0


def test_depends_on_the_seed_alone() -> None:
    points = np.random.default_rng(0).random((60, 3))
    first = kmeans_clusters(points, 5, seed=1, num_init=1)
    np.testing.assert_array_equal(first, kmeans_clusters(points, 5, seed=1, num_init=1))
    assert np.any(first != kmeans_clusters(points, 5, seed=2, num_init=1))


def test_fits_on_a_sample_and_assigns_everyone() -> None:
    points, groups = blobs(25)
    clusters = kmeans_clusters(points, 4, seed=0, max_samples=30)
    assert clusters.shape == (100,)
    assert clustering_accuracy(groups, clusters) == 1.0


def test_many_items_go_through_mini_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []

    class Spy(kmeans_baseline.MiniBatchKMeans):
        def fit(self, features: np.ndarray) -> Spy:
            used.append(len(features))
            return super().fit(features)

    monkeypatch.setattr(kmeans_baseline, "MiniBatchKMeans", Spy)
    monkeypatch.setattr(kmeans_baseline, "LARGEST_FULL_KMEANS", 99)
    points, groups = blobs(25)
    assert clustering_accuracy(groups, kmeans_clusters(points, 4, seed=0)) == 1.0
    kmeans_clusters(points, 4, seed=0, max_samples=99)
    assert used == [100]


def test_items_are_sorted_block_by_block_as_all_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    points = np.random.default_rng(0).normal(size=(3000, 6)).astype(np.float32)
    np.save(tmp_path / "points.npy", points)
    whole = kmeans_clusters(points, 7, seed=0, num_init=1, max_samples=500)
    monkeypatch.setattr(kmeans_baseline, "_ROWS", 512)
    mapped = np.load(tmp_path / "points.npy", mmap_mode="r")
    blocks = kmeans_clusters(mapped, 7, seed=0, num_init=1, max_samples=500)
    np.testing.assert_array_equal(blocks, whole)


def test_accepts_flattened_uint8_pixels() -> None:
    pixels = np.array([[0, 0], [1, 0], [255, 250], [250, 255]], np.uint8)
    clusters = kmeans_clusters(pixels, 2, seed=0)
    assert clustering_accuracy([0, 0, 1, 1], clusters) == 1.0


@pytest.mark.parametrize("num_clusters", [0, 5])
def test_refuses_more_clusters_than_items(num_clusters: int) -> None:
    with pytest.raises(ValueError, match=f"Received: num_clusters={num_clusters}, fitted=4"):
        kmeans_clusters(np.eye(4), num_clusters, seed=0)


def test_refuses_images() -> None:
    with pytest.raises(ValueError, match=r"features.shape=\(4, 2, 2\)"):
        kmeans_clusters(np.zeros((4, 2, 2)), 2, seed=0)


@pytest.mark.parametrize("memory_bytes", [2**26, 40 * 12 * 4])
def test_other_items_go_to_the_centres_fitted(memory_bytes: int) -> None:
    """As for test images: what a half is told does not depend on who else is asked."""
    rng = np.random.default_rng(0)
    fitted = rng.integers(0, 60, (90, 2, 2, 3), np.uint8)
    fitted += (np.arange(90) % 3 * 90).astype(np.uint8)[:, None, None, None]
    other = fitted[::-1][:50]
    options = {"seed": 0, "num_init": 2}
    of_pixels = pixel_kmeans_clusters(
        fitted, 3, classified=other, memory_bytes=memory_bytes, **options
    )
    own = pixel_kmeans_clusters(fitted, 3, memory_bytes=memory_bytes, **options)
    np.testing.assert_array_equal(of_pixels, own[::-1][:50])
    features = fitted.reshape(90, -1)
    of_features = kmeans_clusters(features, 3, classified=features[::-1][:50], **options)
    np.testing.assert_array_equal(of_features, kmeans_clusters(features, 3, **options)[::-1][:50])
