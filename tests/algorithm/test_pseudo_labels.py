from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.algorithm.pseudo_labels import pseudo_labels
from tests.algorithm.arrays import normal, unit_rows
from tests.reference import pseudo_labels as reference

sizes = st.tuples(st.integers(1, 3), st.integers(2, 12), st.integers(1, 4), st.integers(0, 999))


def pairs_of(embeddings: np.ndarray, centers: np.ndarray, each: int) -> list[list[tuple[int, int]]]:
    indices, labels = pseudo_labels(embeddings, centers, each)
    return [
        list(zip(head, labels.numpy().tolist(), strict=True)) for head in indices.numpy().tolist()
    ]


@given(sizes=sizes, data=st.data())
def test_equals_eq_3(sizes: tuple[int, int, int, int], data: st.DataObject) -> None:
    num_heads, num_samples, num_clusters, seed = sizes
    each = data.draw(st.integers(1, num_samples))
    generator = np.random.default_rng(seed)
    embeddings = unit_rows(generator, num_samples, 5)
    centers = normal(generator, num_heads, num_clusters, 5)
    assert pairs_of(embeddings, centers, each) == reference.pseudo_labels(embeddings, centers, each)


@given(sizes=sizes)
def test_every_cluster_claims_exactly_its_share(sizes: tuple[int, int, int, int]) -> None:
    num_heads, num_samples, num_clusters, seed = sizes
    generator = np.random.default_rng(seed)
    each = max(1, num_samples // num_clusters)
    indices, labels = pseudo_labels(
        unit_rows(generator, num_samples, 5), normal(generator, num_heads, num_clusters, 5), each
    )
    assert indices.dtype == labels.dtype == tf.int32
    assert indices.shape == (num_heads, num_clusters * each)
    np.testing.assert_array_equal(np.bincount(labels, minlength=num_clusters), each)
    for head in indices.numpy().reshape(num_heads, num_clusters, each):
        for claimed in head:
            assert len(set(claimed.tolist())) == each


@given(sizes=sizes, scale=st.sampled_from([0.25, 4.0]))
def test_equivariant_to_order_and_free_of_scale(
    sizes: tuple[int, int, int, int], scale: float
) -> None:
    num_heads, num_samples, num_clusters, seed = sizes
    generator = np.random.default_rng(seed)
    embeddings = unit_rows(generator, num_samples, 5)
    centers = normal(generator, num_heads, num_clusters, 5)
    samples, clusters = generator.permutation(num_samples), generator.permutation(num_clusters)
    each = max(1, num_samples // num_clusters)
    permuted = pairs_of(embeddings[samples], scale * centers[:, clusters], each)
    original = pairs_of(embeddings, centers, each)
    for head, expected in zip(permuted, original, strict=True):
        renamed = {(int(samples[sample]), int(clusters[label])) for sample, label in head}
        assert renamed == set(expected)


def test_clusters_may_claim_the_same_sample() -> None:
    embeddings = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    centers = np.array([[[1.0, 0.1], [0.9, 0.1]]], np.float32)
    assert pairs_of(embeddings, centers, 1) == [[(0, 0), (0, 1)]]


def test_static_shapes_inside_a_graph() -> None:
    @tf.function
    def step(embeddings: tf.Tensor, centers: tf.Tensor) -> tf.Tensor:
        pairs = pseudo_labels(embeddings, centers, 3)
        assert pairs.indices.shape == (2, 12)
        assert pairs.labels.shape == (12,)
        return pairs.labels

    labels = step(tf.ones([20, 5]), tf.ones([2, 4, 5]))
    np.testing.assert_array_equal(labels, np.repeat(np.arange(4), 3))


@pytest.mark.parametrize("each", [0, 7])
def test_refuses_to_claim_more_samples_than_there_are(each: int) -> None:
    with pytest.raises(ValueError, match=f"Received: num_per_cluster={each}, num_samples=6"):
        pseudo_labels(np.zeros((6, 2), np.float32), np.zeros((1, 3, 2), np.float32), each)
