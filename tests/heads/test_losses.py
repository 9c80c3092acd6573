from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.algorithm.double_softmax import double_softmax_floor
from spice_keras.algorithm.prototypes import log_probabilities
from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.heads.losses import head_losses, neighbor_head_losses
from spice_keras.options import ClaimRule, SelfLoss, Sizes
from tests.algorithm.arrays import normal, unit_rows
from tests.reference import cluster_sizes as sizes_reference
from tests.reference import head_selection as reference
from tests.reference import neighbor_consistency as neighbor_reference
from tests.reference.self_losses import pair_losses

SIZES: tuple[Sizes, ...] = ("uneven", "even", "auto")


@given(
    num_samples=st.integers(4, 20),
    num_clusters=st.integers(1, 4),
    ratio=st.sampled_from([0.2, 0.5, 1.0]),
    seed=st.integers(0, 999),
)
def test_equals_steps_1_to_3(num_samples: int, num_clusters: int, ratio: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    # Not of unit length: two unit vectors are equally near to their mean, and rounding would break
    # that tie.
    embeddings = normal(generator, num_samples, 6)
    logits = normal(generator, 2, num_samples, num_clusters, scale=3.0)
    losses = head_losses(embeddings, logits, ratio)
    expected = [reference.head_loss(embeddings, head, ratio) for head in logits]
    assert losses.dtype == np.float64
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


@pytest.mark.parametrize("loss", ["double-softmax", "softmax"])
@pytest.mark.parametrize("assignment", ["overlap", "exclusive"])
@pytest.mark.parametrize("entropy_weight", [0.0, 2.0])
def test_heads_are_judged_by_the_loss_they_are_trained_with(
    loss: SelfLoss, assignment: ClaimRule, entropy_weight: float
) -> None:
    generator = np.random.default_rng(5)
    embeddings = normal(generator, 14, 6)
    logits = normal(generator, 3, 14, 3, scale=3.0)
    losses = head_losses(
        embeddings, logits, 0.5, loss=loss, assignment=assignment, entropy_weight=entropy_weight
    )
    exclusive = assignment == "exclusive"
    expected = [
        reference.head_loss(
            embeddings, head, 0.5, loss=loss, exclusive=exclusive, entropy_weight=entropy_weight
        )
        for head in logits
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


@pytest.mark.parametrize("assignment", ["overlap", "exclusive"])
def test_heads_for_uneven_clusters_are_judged_by_claims_of_their_size(
    assignment: ClaimRule,
) -> None:
    generator = np.random.default_rng(5)
    embeddings = normal(generator, 14, 6)
    logits = normal(generator, 4, 14, 3, scale=3.0)
    scores = log_probabilities(logits).numpy()
    pairs = sizes_reference.own_pseudo_labels(
        embeddings, scores, 0.5, (0.0,) * 4, exclusive=assignment == "exclusive"
    )
    expected = [
        np.mean([pair_losses(np.array([label]), head[[row]], "softmax", 1.0) for row, label in own])
        for head, own in zip(logits, pairs, strict=True)
    ]
    uneven, even, auto = (
        head_losses(embeddings, logits, 0.5, loss="softmax", assignment=assignment, sizes=sizes)
        for sizes in SIZES
    )
    np.testing.assert_allclose(uneven, expected, rtol=1e-5)
    assert np.abs(uneven - even).min() > 1e-3
    np.testing.assert_allclose(auto, [*even[:2], *uneven[2:]], rtol=1e-6)


def blobs(num_each: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of three tight groups, and the group of each."""
    groups = np.repeat(np.arange(3), num_each)
    noise = 0.05 * np.random.default_rng(0).standard_normal((len(groups), 3))
    embeddings = np.eye(3)[groups] + noise
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), groups


def test_the_head_that_follows_the_groups_wins() -> None:
    embeddings, groups = blobs(20)
    perfect = 50.0 * np.eye(3)[groups]
    unsure = 1.0 * np.eye(3)[groups]
    random = 50.0 * np.eye(3)[np.random.default_rng(1).integers(0, 3, 60)]
    losses = head_losses(embeddings, np.stack([random, perfect, unsure]), 0.5)
    assert int(np.argmin(losses)) == 1
    assert losses[1] == pytest.approx(double_softmax_floor(3), abs=1e-5)


def test_order_of_heads_samples_and_clusters_does_not_matter() -> None:
    generator = np.random.default_rng(3)
    embeddings, logits = unit_rows(generator, 30, 4), normal(generator, 4, 30, 3)
    heads, samples = generator.permutation(4), generator.permutation(30)
    permuted = head_losses(embeddings[samples], logits[heads][:, samples][:, :, [2, 0, 1]], 0.5)
    np.testing.assert_allclose(permuted, head_losses(embeddings, logits, 0.5)[heads], rtol=1e-6)


def test_refuses_logits_of_other_samples() -> None:
    with pytest.raises(ValueError, match=r"logits.shape=\(2, 5, 3\), embeddings.shape=\(6, 4\)"):
        head_losses(np.zeros((6, 4)), np.zeros((2, 5, 3)), 0.5)


def test_refuses_fewer_samples_than_clusters() -> None:
    with pytest.raises(ValueError, match="num_samples=2, num_clusters=3"):
        head_losses(np.zeros((2, 4)), np.zeros((1, 2, 3)), 0.5)


@given(
    num_samples=st.integers(1, 12),
    num_clusters=st.integers(1, 4),
    weight=st.sampled_from([0.0, 1.0, 5.0]),
    block_size=st.integers(1, 13),
    seed=st.integers(0, 999),
)
def test_equals_the_mean_over_all_pairs(
    num_samples: int, num_clusters: int, weight: float, block_size: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    neighbors = generator.integers(0, num_samples, (num_samples, 3))
    logits = normal(generator, 2, num_samples, num_clusters, scale=5.0)
    losses = neighbor_head_losses(logits, neighbors, weight, block_size)
    expected = [neighbor_reference.head_loss(head, neighbors, weight) for head in logits]
    assert losses.dtype == np.float64
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-5)


def test_the_head_that_keeps_neighbors_together_wins() -> None:
    embeddings, groups = blobs(20)
    neighbors = nearest_neighbors(embeddings.astype(np.float32), 6)[:, 1:]
    perfect = 50.0 * np.eye(3)[groups]
    unsure = 1.0 * np.eye(3)[groups]
    one_cluster = 50.0 * np.eye(3)[np.zeros_like(groups)]
    random = 50.0 * np.eye(3)[np.random.default_rng(1).integers(0, 3, 60)]
    losses = neighbor_head_losses(np.stack([random, one_cluster, perfect, unsure]), neighbors, 2.0)
    assert int(np.argmin(losses)) == 2
    assert losses[2] == pytest.approx(-2.0 * np.log(3), abs=1e-4)


def test_refuses_neighbors_of_other_samples() -> None:
    with pytest.raises(ValueError, match=r"logits.shape=\(2, 5, 3\), neighbors.shape=\(6, 4\)"):
        neighbor_head_losses(np.zeros((2, 5, 3)), np.zeros((6, 4), int), 1.0)
