from __future__ import annotations

import keras
import keras_cv
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.augment.keras_cv_policy import SeededDraws, SeededFactor, seeded_rand_augment


def test_no_operation_of_the_graph_draws_from_a_state() -> None:
    policy = tf.function(seeded_rand_augment(num_ops=2, magnitude=0.5, cutout=0.5))
    graph = policy.get_concrete_function(
        tf.TensorSpec([4, 8, 8, 3], tf.uint8), tf.TensorSpec([2], tf.int32)
    ).graph.as_graph_def()
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    drawing = {node.op for node in nodes if "Random" in node.op or "Rng" in node.op}
    assert "StatelessRandomUniformV2" in drawing
    assert "StatelessRandomNormalV2" in drawing
    assert all(name.startswith("Stateless") for name in drawing)


def test_the_networks_precision_does_not_reach_the_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    plain = seeded_rand_augment(num_ops=2, magnitude=0.5, cutout=0.0)(images, tf.constant([1, 2]))
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = seeded_rand_augment(num_ops=2, magnitude=0.5, cutout=0.0)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        np.testing.assert_array_equal(mixed(images, tf.constant([1, 2])), plain)
    finally:
        keras.config.set_dtype_policy(before)


def test_other_layers_keep_their_own_generators() -> None:
    other = keras_cv.layers.RandomCutout(0.5, 0.5, seed=1)
    generator = other._random_generator
    seeded_rand_augment(num_ops=1, magnitude=0.5, cutout=0.5)
    assert other._random_generator is generator
    assert isinstance(other.height_factor, keras_cv.core.UniformFactorSampler)


@pytest.mark.parametrize(
    ("sampler", "mean", "low", "high"),
    [
        (keras_cv.core.UniformFactorSampler(2.0, 4.0, seed=1), 3.0, 2.0, 4.0),
        (keras_cv.core.NormalFactorSampler(0.5, 0.2, 0.0, 0.9, seed=1), 0.5, 0.0, 0.9),
    ],
)
def test_a_seeded_factor_keeps_its_samplers_distribution(
    sampler: keras_cv.core.FactorSampler, mean: float, low: float, high: float
) -> None:
    draws = SeededDraws()
    factor = SeededFactor(sampler, draws)
    draws.start(tf.constant([5, 6]))
    first, second = factor(shape=(3000,)).numpy(), factor(shape=(3000,)).numpy()
    draws.start(tf.constant([5, 6]))
    np.testing.assert_array_equal(factor(shape=(3000,)), first)
    assert not np.array_equal(first, second)
    assert abs(first.mean() - mean) < 0.03
    assert abs(first.std() - sampler(shape=(3000,)).numpy().std()) < 0.03
    assert low <= first.min() <= first.max() <= high
