from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.algorithm.claims import claimed_samples, exclusive_samples
from spice_keras.algorithm.prototypes import prototypes
from spice_keras.algorithm.pseudo_labels import pseudo_labels
from tests.algorithm.arrays import normal, unit_rows
from tests.reference import claims as reference

sizes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 999))


def drawn(sizes: tuple[int, int, int, int], spare: int = 3) -> tuple[np.ndarray, int]:
    num_heads, num_clusters, count, seed = sizes
    generator = np.random.default_rng(seed)
    return normal(generator, num_heads, num_clusters, num_clusters * count + spare), count


@pytest.mark.parametrize("assignment", ["overlap", "exclusive"])
@given(sizes=sizes)
def test_equals_choosing_in_turn(
    assignment: Literal["overlap", "exclusive"], sizes: tuple[int, int, int, int]
) -> None:
    scores, count = drawn(sizes)
    claimed = claimed_samples(scores, count, assignment)
    assert claimed.dtype == tf.int32
    expected = reference.claimed(scores, count, exclusive=assignment == "exclusive")
    assert claimed.numpy().tolist() == expected


@given(sizes=sizes, spare=st.integers(0, 3))
def test_no_sample_is_claimed_twice(sizes: tuple[int, int, int, int], spare: int) -> None:
    scores, count = drawn(sizes, spare)
    for head in exclusive_samples(scores, count).numpy():
        assert len(set(head.ravel().tolist())) == head.size


@given(sizes=sizes)
def test_clusters_that_want_different_samples_get_what_overlap_gives(
    sizes: tuple[int, int, int, int],
) -> None:
    num_heads, num_clusters, count, seed = sizes
    scores = normal(np.random.default_rng(seed), num_heads, num_clusters, num_clusters * count)
    wanted = np.repeat(np.arange(num_clusters), count)
    scores += 100.0 * (wanted == np.arange(num_clusters)[:, np.newaxis])
    np.testing.assert_array_equal(
        exclusive_samples(scores, count), claimed_samples(scores, count, "overlap")
    )


def test_equal_scores_go_to_the_lower_index_and_a_contested_one_to_the_lower_cluster() -> None:
    scores = np.array([[[1.0, 1.0, 1.0, 0.0], [0.0, 9.0, 0.0, 0.0]]], np.float32)
    assert exclusive_samples(scores, 2).numpy().tolist() == [[[0, 1], [2, 3]]]


def test_prototypes_and_pseudo_labels_can_both_be_exclusive() -> None:
    """The released code skips used samples for the centres and again for the labels."""
    embeddings = unit_rows(np.random.default_rng(0), 12, 5)
    scores = normal(np.random.default_rng(1), 2, 12, 3)
    (centers,) = (prototypes(embeddings, scores, 2, "exclusive"),)
    chosen = reference.claimed(scores.transpose(0, 2, 1), 2, exclusive=True)
    np.testing.assert_allclose(centers, embeddings[np.array(chosen)].mean(axis=2), rtol=1e-5)
    pairs = pseudo_labels(embeddings, centers, 4, "exclusive")
    for head in pairs.indices.numpy():
        assert sorted(head.tolist()) == list(range(12)), "12 samples, 3 clusters, 4 each"
    np.testing.assert_array_equal(pairs.labels, np.repeat(np.arange(3), 4))


def test_static_shapes_inside_a_graph() -> None:
    @tf.function
    def step(scores: tf.Tensor) -> tf.Tensor:
        claimed = exclusive_samples(scores, 3)
        assert claimed.shape == (2, 4, 3)
        return claimed

    assert len(set(step(tf.zeros([2, 4, 20])).numpy()[0].ravel().tolist())) == 12


def test_refuses_what_cannot_be_claimed() -> None:
    with pytest.raises(ValueError, match=r"without overlap\. Received: count=3"):
        exclusive_samples(np.zeros((1, 2, 5), np.float32), 3)
    with pytest.raises(ValueError, match="Received: assignment='greedy'"):
        claimed_samples(np.zeros((1, 2, 5), np.float32), 2, "greedy")  # type: ignore[arg-type]
