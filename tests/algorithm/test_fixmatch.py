from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.algorithm.fixmatch import FixMatchLoss, fixmatch_loss
from tests.algorithm.arrays import normal
from tests.reference import fixmatch as reference


def batch(seed: int, scale: float = 2.0) -> tuple[np.ndarray, ...]:
    """Labels, and logits of 4 labelled, 9 weak and 9 strong views, for 5 clusters."""
    generator = np.random.default_rng(seed)
    logits = (normal(generator, size, 5, scale=scale) for size in (4, 9, 9))
    return generator.integers(0, 5, 4), *logits


@given(
    seed=st.integers(0, 999),
    threshold=st.sampled_from([0.0, 0.5, 0.7, 0.95]),
    weight=st.sampled_from([0.0, 1.0, 2.5]),
)
def test_equals_eq_6(seed: int, threshold: float, weight: float) -> None:
    arrays = batch(seed)
    actual = fixmatch_loss(*arrays, threshold=threshold, unlabeled_weight=weight)
    expected = reference.fixmatch_loss(*arrays, threshold, weight)
    np.testing.assert_allclose([float(part) for part in actual], expected, rtol=1e-5, atol=1e-6)


@given(seed=st.integers(0, 999), scale=st.sampled_from([0.0, 1.0, 1e4]))
def test_no_confident_view_gives_exactly_0(seed: int, scale: float) -> None:
    labels, labeled, weak, strong = batch(seed)
    losses = fixmatch_loss(
        labels, labeled, weak, scale * strong, threshold=1.1, unlabeled_weight=1.0
    )
    assert float(losses.unsupervised) == 0.0
    assert float(losses.mask_ratio) == 0.0
    assert float(losses.total) == float(losses.supervised)


@given(seed=st.integers(0, 999))
def test_all_confident_gives_plain_cross_entropy(seed: int) -> None:
    labels, labeled, weak, strong = batch(seed)
    losses = fixmatch_loss(labels, labeled, weak, strong, threshold=0.0, unlabeled_weight=1.0)
    plain = keras.losses.sparse_categorical_crossentropy(
        np.argmax(weak, axis=1), strong, from_logits=True
    )
    assert float(losses.mask_ratio) == 1.0
    assert float(losses.unsupervised) == pytest.approx(float(tf.reduce_mean(plain)), rel=1e-5)


@given(seed=st.integers(0, 999), scale=st.sampled_from([1e3, 1e6, 1e30]))
def test_extreme_logits_give_finite_losses_and_gradients(seed: int, scale: float) -> None:
    labels, *logits = batch(seed, scale)
    variables = [tf.Variable(values) for values in logits]
    with tf.GradientTape() as tape:
        losses = fixmatch_loss(labels, *variables, threshold=0.95, unlabeled_weight=1.0)
    gradients = tape.gradient(losses.total, [variables[0], variables[2]])
    assert all(np.isfinite(float(part)) for part in losses)
    assert all(np.isfinite(gradient.numpy()).all() for gradient in gradients)


def test_no_gradient_flows_through_the_weak_branch() -> None:
    labels, *logits = batch(0, scale=5.0)
    variables = [tf.Variable(values) for values in logits]
    with tf.GradientTape() as tape:
        losses = fixmatch_loss(labels, *variables, threshold=0.5, unlabeled_weight=1.0)
    to_labeled, to_weak, to_strong = tape.gradient(losses.total, variables)
    assert to_weak is None
    assert float(tf.reduce_max(tf.abs(to_labeled))) > 0
    assert float(tf.reduce_max(tf.abs(to_strong))) > 0


def test_only_confident_samples_train_the_strong_branch() -> None:
    labels, labeled, weak, strong = batch(1, scale=3.0)
    strong_variable = tf.Variable(strong)
    with tf.GradientTape() as tape:
        losses = fixmatch_loss(
            labels, labeled, weak, strong_variable, threshold=0.8, unlabeled_weight=1.0
        )
    gradient = tape.gradient(losses.total, strong_variable).numpy()
    confident = tf.reduce_max(tf.nn.softmax(weak), axis=1).numpy() >= 0.8
    assert 0 < confident.sum() < len(confident)
    np.testing.assert_array_equal(np.any(gradient != 0, axis=1), confident)


def test_the_threshold_itself_is_confident() -> None:
    logits = np.zeros((2, 4), np.float32)
    losses = fixmatch_loss([0, 1], logits, logits, logits, threshold=0.25, unlabeled_weight=1.0)
    assert float(losses.mask_ratio) == 1.0


def test_equivariant_to_cluster_names() -> None:
    labels, labeled, weak, strong = batch(2)
    order = np.random.default_rng(0).permutation(5)
    position = np.argsort(order)
    options = {"threshold": 0.6, "unlabeled_weight": 1.0}
    renamed = fixmatch_loss(
        position[labels], labeled[:, order], weak[:, order], strong[:, order], **options
    )
    original = fixmatch_loss(labels, labeled, weak, strong, **options)
    np.testing.assert_allclose(list(renamed), list(original), rtol=1e-5)


def test_half_precision_logits_are_scored_in_float32() -> None:
    labels, *logits = batch(3)
    halves = [tf.cast(values, tf.bfloat16) for values in logits]
    wide = [tf.cast(values, tf.float32) for values in halves]
    options = {"threshold": 0.6, "unlabeled_weight": 1.0}
    actual = fixmatch_loss(labels, *halves, **options)
    assert isinstance(actual, FixMatchLoss)
    assert all(part.dtype == tf.float32 for part in actual)
    np.testing.assert_array_equal(list(actual), list(fixmatch_loss(labels, *wide, **options)))
