from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.augment.cutout import MEAN_COLOR
from spice_keras.augment.keras_cv_layers import SquareCutout, StrongOperation, StrongOperations
from spice_keras.augment.strong import OPERATIONS
from tests.reference.pillow_operations import pillow_operation

IMAGES = np.repeat(np.random.default_rng(4).integers(0, 256, (1, 12, 12, 3), np.uint8), 8, axis=0)
LAYERS = {
    "operation": lambda: StrongOperation("Rotate", low=-10.0, high=20.0, seed=3),
    "operations": lambda: StrongOperations(num_ops=2, seed=3),
    "cutout": lambda: SquareCutout(max_share=0.7, seed=3),
}


@pytest.mark.parametrize("build", LAYERS.values(), ids=LAYERS)
def test_config_round_trip_draws_the_same(build: type) -> None:
    layer = build()
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()
    np.testing.assert_array_equal(copy(IMAGES), layer(IMAGES))


@pytest.mark.parametrize("build", LAYERS.values(), ids=LAYERS)
def test_images_get_their_own_draws_and_labels_stay(build: type) -> None:
    labels = np.float32([[0, 1]] * 8)
    result = build()({"images": IMAGES, "labels": labels})
    np.testing.assert_array_equal(result["labels"], labels)
    views = result["images"].numpy()
    assert views.shape == IMAGES.shape
    assert len({view.tobytes() for view in views}) > 1


@pytest.mark.parametrize("build", LAYERS.values(), ids=LAYERS)
def test_layers_work_inside_tf_data(build: type) -> None:
    dataset = tf.data.Dataset.from_tensors(IMAGES).map(build())
    assert next(iter(dataset)).shape == IMAGES.shape


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_the_policys_operation(name: str) -> None:
    low, high = OPERATIONS[name]
    value = float(np.float32(low + 0.3 * (high - low)))
    found = StrongOperation(name, low=value, high=value, seed=0)(IMAGES[:1]).numpy()[0]
    expected = pillow_operation(IMAGES[0], name, value)
    assert np.mean(np.abs(found - expected.astype(float)) > 1) < 0.02


def test_default_ranges_are_the_papers() -> None:
    layer = StrongOperation("Color")
    assert (layer.low, layer.high) == OPERATIONS["Color"]


def test_cutout_fills_the_mean_colour() -> None:
    views = SquareCutout(max_share=1.0, seed=0)(np.zeros_like(IMAGES)).numpy()
    assert {tuple(color) for color in views.reshape(-1, 3)} == {(0, 0, 0), MEAN_COLOR}


def test_the_seed_decides_and_zero_is_a_seed() -> None:
    first, again = (StrongOperations(seed=0)(IMAGES) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(StrongOperations(seed=1)(IMAGES), first)


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(ValueError, match="`operation` must be one of Identity"):
        StrongOperation("Twirl")
