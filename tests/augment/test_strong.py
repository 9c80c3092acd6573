from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from spice_keras.augment.strong import (
    KINDS,
    OPERATIONS,
    Operations,
    apply_operation,
    apply_operations,
    sample_operations,
)
from tests.reference.pillow_operations import pillow_operation

SHARES = (0.0, 0.113, 0.25, 0.5, 0.642, 0.87, 0.999)
GEOMETRIC = {"Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"}


def _pictures(height: int, width: int) -> np.ndarray:
    """Noise, a dim noise, a ramp, a flat picture and one of two colours: [5, H, W, 3]."""
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (height, width, 3))
    dim = rng.integers(60, 130, (height, width, 3))
    y, x = np.mgrid[:height, :width]
    ramp = np.stack([x * 200 // width, y * 250 // height, (x + y) * 120 // (height + width)], -1)
    flat = np.full((height, width, 3), (17, 200, 90))
    two = np.where((x < width // 3)[..., None], (10, 20, 30), (250, 120, 40))
    return np.stack([noise, dim, ramp, flat, two]).astype(np.uint8)


def _one_operation(pictures: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Repeats the pictures for every share of the range: images [N, ...] and values [N]."""
    low, high = OPERATIONS[name]
    values = np.float32(low) + np.float32(SHARES) * np.float32(high - low)
    return np.repeat(pictures, len(values), axis=0), np.tile(values, len(pictures))


@pytest.mark.parametrize("inside_tf_data", [False, True])
@pytest.mark.parametrize("name", OPERATIONS)
def test_equals_pillow(name: str, inside_tf_data: bool) -> None:
    images, values = _one_operation(_pictures(32, 24), name)
    kinds = np.full(len(images), KINDS[name], np.int32)
    if inside_tf_data:
        dataset = tf.data.Dataset.from_tensors((images, kinds, values)).map(apply_operation)
        found = next(iter(dataset)).numpy()
    else:
        found = apply_operation(tf.constant(images), kinds, values).numpy()
    expected = np.stack(
        [
            pillow_operation(image, name, float(value))
            for image, value in zip(images, values, strict=True)
        ]
    )
    difference = np.abs(found.astype(int) - expected.astype(int))
    if name in GEOMETRIC:
        # A pixel may fall on the other side of a border between two pixels.
        assert np.mean(difference.max(axis=-1) > 0) < 1e-3
    else:
        assert difference.max() <= 1
        assert np.mean(difference > 0) < 1e-3


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"Identity"}))
def test_every_operation_changes_a_picture(name: str) -> None:
    image = _pictures(32, 32)[1:2]
    low, high = OPERATIONS[name]
    changed = apply_operation(
        image, np.int32([KINDS[name]]), np.float32([low + 0.3 * (high - low)])
    )
    assert np.mean(changed.numpy() != image) > 0.05


def test_a_mixed_batch_equals_the_operations_one_by_one() -> None:
    pictures = _pictures(16, 16)
    operations = sample_operations(tf.constant([4, 9]), tf.constant(60), 4)
    images = np.tile(pictures, (12, 1, 1, 1))
    together = apply_operations(tf.constant(images), operations).numpy()
    for index in range(0, 60, 7):
        kinds, values = operations.kinds[:, index, None], operations.values[:, index, None]
        alone = apply_operations(images[index][None], Operations(kinds, values))
        np.testing.assert_array_equal(together[index], alone[0])


def test_operations_follow_one_another() -> None:
    image = _pictures(16, 16)[:1]
    kinds = tf.constant([[KINDS["Solarize"]], [KINDS["ShearX"]]])
    values = tf.constant([[100.0], [0.09]])
    found = apply_operations(image, Operations(kinds, values))[0]
    step = pillow_operation(image[0], "Solarize", 100.0)
    np.testing.assert_array_equal(found, pillow_operation(step, "ShearX", 0.09))


def test_draws_cover_the_fourteen_operations_and_their_ranges() -> None:
    draws = sample_operations(tf.constant([0, 5]), tf.constant(20_000), 2)
    kinds, values = draws.kinds.numpy(), draws.values.numpy()
    assert kinds.shape == values.shape == (2, 20_000)
    shares = np.bincount(kinds.ravel(), minlength=14) / kinds.size
    np.testing.assert_allclose(shares, 1 / 14, atol=0.006)
    assert abs(np.mean(kinds[0] == kinds[1]) - 1 / 14) < 0.01, "drawn with replacement"
    for name, (low, high) in OPERATIONS.items():
        drawn = (values[kinds == KINDS[name]] - low) / (high - low)
        assert drawn.min() >= 0
        assert drawn.max() <= 1
        np.testing.assert_allclose(np.quantile(drawn, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.05)


def test_the_seed_decides_the_draws() -> None:
    first, again, other = (
        sample_operations(tf.constant(seed), tf.constant(50), 4)
        for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(first.kinds, again.kinds)
    np.testing.assert_array_equal(first.values, again.values)
    assert not np.array_equal(first.kinds, other.kinds)


def test_no_operation_leaves_the_batch() -> None:
    images = tf.constant(_pictures(8, 8))
    draws = sample_operations(tf.constant([1, 2]), tf.constant(5), 0)
    np.testing.assert_array_equal(apply_operations(images, draws), images)
