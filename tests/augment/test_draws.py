from __future__ import annotations

import numpy as np
import tensorflow as tf

from spice_keras.augment.draws import chance, integers, split_seed, uniform

COUNT = tf.constant(4000)


def test_derived_seeds_differ_from_each_other_and_repeat() -> None:
    seeds = np.stack(split_seed(tf.constant([3, 4]), 8))
    assert seeds.shape == (8, 2)
    assert len({tuple(seed) for seed in seeds}) == 8
    np.testing.assert_array_equal(seeds, np.stack(split_seed(tf.constant([3, 4]), 8)))


def test_uniform_fills_its_range() -> None:
    drawn = uniform(tf.constant([1, 1]), COUNT, -2.0, 6.0).numpy()
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(np.quantile(drawn, [0.0, 0.25, 0.5, 1.0]), [-2, 0, 2, 6], atol=0.3)


def test_integers_include_both_ends_equally_often() -> None:
    drawn = integers(tf.constant([1, 2]), COUNT, -1, 2).numpy()
    values, counts = np.unique(drawn, return_counts=True)
    np.testing.assert_array_equal(values, [-1, 0, 1, 2])
    np.testing.assert_allclose(counts / 4000, 0.25, atol=0.03)


def test_chance_happens_as_often_as_told() -> None:
    assert abs(np.mean(chance(tf.constant([5, 2]), COUNT, 0.3)) - 0.3) < 0.03
    assert not np.any(chance(tf.constant([5, 2]), COUNT, 0.0))
    assert np.all(chance(tf.constant([5, 2]), COUNT, 1.0))
