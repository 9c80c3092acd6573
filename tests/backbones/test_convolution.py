"""The kernel's gradient by matrix products: the same gradient, and only where it is meant."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.backbones import convolution
from spice_keras.backbones.convolution import Conv2D, by_products, kernel_gradient
from tests.backbones.built import built

_VECTORS = frozenset({"avx512f", "avx512_bf16"})


def _twin(images: np.ndarray, gradients: np.ndarray, kernel: int, strides: int) -> np.ndarray:
    """Gradient of sum(gradients * convolution) by its definition, place by place."""
    total = np.zeros((kernel, kernel, images.shape[3], gradients.shape[3]))
    for image, gradient in zip(images, gradients, strict=True):
        for row, column in np.ndindex(gradient.shape[:2]):
            top, left = row * strides, column * strides
            patch = image[top : top + kernel, left : left + kernel]
            total += patch[..., None] * gradient[row, column]
    return total


@given(
    sides=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.integers(1, 4),
    strides=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_sums_over_batch_and_places(
    sides: tuple[int, int], kernel: int, strides: int, seed: int
) -> None:
    high, wide = (max(side, kernel) for side in sides)
    random = np.random.default_rng(seed)
    images = random.standard_normal((2, high, wide, 3))
    output = ((high - kernel) // strides + 1, (wide - kernel) // strides + 1)
    gradients = random.standard_normal((2, *output, 2))
    found = kernel_gradient(tf.constant(images), tf.constant(gradients), kernel, strides)
    np.testing.assert_allclose(found, _twin(images, gradients, kernel, strides), atol=1e-9)


def _gradients(layer: keras.layers.Layer, images: tf.Tensor) -> list[np.ndarray]:
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images, training=True)
        weights = tf.reshape(tf.range(tf.size(outputs), dtype=tf.float32), outputs.shape)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * tf.sin(weights))
    found = tape.gradient(loss, [images, layer.kernel.value])
    return [np.asarray(tf.cast(value, tf.float32)) for value in (outputs, *found)]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Take the products wherever the layer allows it; the kernels they were taken for."""
    taken: list[tuple[int, ...]] = []

    def gradient(*arguments: object) -> tf.Tensor:
        found = kernel_gradient(*arguments)
        taken.append(tuple(found.shape))
        return found

    monkeypatch.setattr(convolution, "by_products", lambda *_: True)
    monkeypatch.setattr(convolution, "kernel_gradient", gradient)
    return taken


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("side", "kernel", "strides", "padding"),
    [
        (6, 3, 1, "same"),
        (5, 2, 1, "same"),
        (7, 5, 1, "same"),
        (9, 3, 2, "valid"),
        (8, 3, 2, "valid"),
    ],
)
def test_a_layer_has_the_gradients_of_keras(
    always: list[tuple[int, ...]], dtype: str, side: int, kernel: int, strides: int, padding: str
) -> None:
    random = np.random.default_rng(0)
    images = tf.constant(random.standard_normal((3, side, side, 4)), tf.float32)
    options = {"strides": strides, "padding": padding, "use_bias": False}
    layer = Conv2D(6, kernel, dtype=dtype, **options)
    # In float32 whatever the type: without bfloat16 in the processor, TensorFlow's own kernel
    # gradients are summed in bfloat16 too.
    reference = keras.layers.Conv2D(6, kernel, dtype="float32", **options)
    for one in (layer, reference):
        one.build(images.shape)
    rounded = "bfloat16" if dtype == "mixed_bfloat16" else "float32"
    images = tf.cast(tf.cast(images, rounded), tf.float32)
    weights = [tf.cast(tf.cast(weight, rounded), tf.float32) for weight in layer.get_weights()]
    reference.set_weights([weight.numpy() for weight in weights])
    ours, theirs = (_gradients(one, images) for one in (layer, reference))
    assert always == [(kernel, kernel, 4, 6)]
    # bfloat16 keeps eight bits; our products are summed in float32.
    tolerance = 1e-5 if dtype == "float32" else 2e-2
    for value, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(value, expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize(
    "options",
    [
        {"use_bias": True},
        {"activation": "relu"},
        {"groups": 2},
        {"dilation_rate": 2},
        {"kernel_size": (3, 1)},
        {"strides": 2},  # "same" then pads one side more than the other
    ],
)
def test_other_convolutions_are_left_to_keras(
    always: list[tuple[int, ...]], options: dict[str, object]
) -> None:
    arguments = {"filters": 4, "kernel_size": 3, "padding": "same", "use_bias": False} | options
    layer = Conv2D(**arguments)
    _gradients(layer, tf.ones((1, 6, 6, 4)))
    assert not always


@pytest.mark.parametrize(
    ("dtype", "flags", "kernel", "output", "expected"),
    [
        (tf.bfloat16, _VECTORS, (3, 3, 512, 512), (None, 4, 4, 512), True),
        (tf.bfloat16, _VECTORS, (3, 3, 128, 256), (8, 8, 8, 256), True),
        (tf.bfloat16, _VECTORS, (3, 3, 128, 128), (8, 8, 8, 128), False),
        (tf.bfloat16, _VECTORS, (1, 1, 512, 512), (8, 4, 4, 512), False),
        (tf.bfloat16, _VECTORS, (3, 3, 512, 512), (8, None, None, 512), False),
        (tf.float32, _VECTORS, (3, 3, 512, 512), (8, 4, 4, 512), False),
        (tf.bfloat16, _VECTORS | {"amx_bf16"}, (3, 3, 512, 512), (8, 4, 4, 512), False),
        (tf.bfloat16, frozenset({"avx2"}), (3, 3, 512, 512), (8, 4, 4, 512), False),
    ],
)
def test_only_where_it_was_measured_faster(
    monkeypatch: pytest.MonkeyPatch,
    dtype: tf.DType,
    flags: frozenset[str],
    kernel: tuple[int, ...],
    output: tuple[int | None, ...],
    expected: bool,
) -> None:
    monkeypatch.setattr(convolution, "processor_flags", lambda: flags)
    assert by_products(dtype, kernel, output) is expected
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: ["a GPU"])
    assert not by_products(dtype, kernel, output)


def test_inference_keeps_the_plain_operation(always: list[tuple[int, ...]]) -> None:
    layer = Conv2D(4, 3, padding="same", use_bias=False)
    layer.build((None, 6, 6, 4))
    images = tf.ones((1, 6, 6, 4))
    traced = {
        training: tf.function(lambda x, training=training: layer(x, training=training))
        .get_concrete_function(images)
        .graph
        for training in (False, True)
    }
    marked = {
        training: any("CustomGradient" in str(op.node_def) for op in graph.get_operations())
        for training, graph in traced.items()
    }
    assert marked == {False: False, True: True}


def test_reads_the_files_of_keras_and_survives_saving(tmp_path: Path) -> None:
    inputs = keras.Input((6, 6, 3))
    theirs, ours = (
        keras.Model(inputs, kind(4, 3, use_bias=False, name="a")(inputs))
        for kind in (keras.layers.Conv2D, Conv2D)
    )
    theirs.save_weights(tmp_path / "a.weights.h5")
    ours.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(ours.get_weights()[0], theirs.get_weights()[0])
    ours.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    assert type(again.get_layer("a")) is Conv2D


def test_an_encoder_is_trained_through_it(always: list[tuple[int, ...]]) -> None:
    encoder = built("small_resnet", 16, width=4)
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(encoder(images, training=True) ** 2)
    gradients = tape.gradient(loss, [weight.value for weight in encoder.trainable_variables])
    kernels = [w for w in encoder.trainable_variables if len(w.shape) == 4]
    assert len(always) == len(kernels)
    assert all(gradient is not None for gradient in gradients)
