"""What every layer and model must do: build, be called, be described, be saved, be loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

PRECISIONS = ("float32", "mixed_bfloat16")


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Builds under a Keras dtype policy and restores the one before."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def check_model(make: Callable[[], keras.Model], inputs: Any, folder: Path) -> None:
    """Checks a model in each precision: call, configuration and ``.keras`` round trips."""
    for name in PRECISIONS:
        with precision(name):
            model = make()
            outputs = _arrays(model(inputs))
            assert outputs, "the model returned nothing"
            assert all(array.dtype != tf.bfloat16.as_numpy_dtype for array in outputs)
            assert all(np.isfinite(array).all() for array in outputs)
            _check_config(model, inputs, outputs)
            path = folder / f"{name}.keras"
            model.save(path)
            loaded = keras.saving.load_model(path)
        _check_equal(_arrays(loaded(inputs)), outputs)
        for ours, theirs in zip(model.weights, loaded.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def check_layer(make: Callable[[], keras.Layer], inputs: list[tf.Tensor], folder: Path) -> None:
    """Checks a layer as part of a functional model."""

    def wrapped() -> keras.Model:
        layer = make()
        symbols = [keras.Input(x.shape[1:], dtype=x.dtype.name) for x in inputs]
        eager, symbolic = layer(*inputs), layer(*symbols)
        for tensor, symbol in zip(
            tf.nest.flatten(eager), keras.tree.flatten(symbolic), strict=True
        ):
            assert symbol.dtype == tensor.dtype.name
            assert len(symbol.shape) == len(tensor.shape)
            assert all(b in (None, a) for a, b in zip(tensor.shape, symbol.shape, strict=True))
        return keras.Model(symbols, symbolic)

    check_model(wrapped, inputs, folder)
    layer = make()
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


def _check_config(model: keras.Model, inputs: Any, outputs: list[np.ndarray]) -> None:
    twin = type(model).from_config(model.get_config())
    assert twin.get_config() == model.get_config()
    twin(inputs)
    twin.set_weights(model.get_weights())
    _check_equal(_arrays(twin(inputs)), outputs)


def _check_equal(actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def _arrays(outputs: Any) -> list[np.ndarray]:
    return [tensor.numpy() for tensor in tf.nest.flatten(outputs)]
