"""int8: which layers stay in float32, and what that is good for."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from spice_keras.serving.asked_formats import Wanted
from spice_keras.serving.conversion import convert
from spice_keras.serving.quantization import layers_in_float


def _layer(op: str, error: float, name: str | None = None) -> dict[str, str]:
    """A layer with an error of so many times that of rounding, with steps of .5."""
    squared = (0.5 * error) ** 2 / 12.0
    return {
        "op_name": op,
        "tensor_name": name or op,
        "scale": "0.5",
        "mean_squared_error": str(squared),
    }


def test_the_beginning_the_head_and_what_loses_more_than_rounding_stay_in_float() -> None:
    errors = (1.0, 9.0, 1.1, 1.4, 1.6, 1.2)
    convolutions = [_layer("CONV_2D", error, f"c{error}") for error in errors]
    assert layers_in_float(convolutions) == ["c1.0", "c9.0", "c1.6"]
    head = [_layer("MEAN", 1.0), _layer("SOFTMAX", 1.0)]
    assert layers_in_float(convolutions + head) == ["c1.0", "c9.0", "c1.6", "MEAN", "SOFTMAX"]


def test_without_a_network_of_convolutions_only_errors_count() -> None:
    assert layers_in_float([_layer("FULLY_CONNECTED", 1.0), _layer("SQRT", 2.0)]) == ["SQRT"]
    assert layers_in_float([]) == []


@pytest.mark.integration
def test_a_small_difference_of_large_numbers_survives(tmp_path: Path) -> None:
    interpreter = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="the extra litert is not installed"
    )
    given = keras.Input((2,), name="embeddings")
    difference = keras.layers.Dense(1, use_bias=False)
    answer = keras.layers.Dense(2, use_bias=False)
    model = keras.Model(given, {"answer": answer(difference(given))})
    difference.set_weights([np.array([[1.0], [-1.0]])])
    rng = np.random.default_rng(0)
    rows = np.float32(rng.normal(size=(50, 1)) + rng.normal(scale=0.01, size=(50, 2)))
    convert(model, Wanted("litert", "int8"), tmp_path, rows)
    runner = interpreter.Interpreter(str(tmp_path / "model.tflite")).get_signature_runner()
    found = np.concatenate([runner(embeddings=row[None])["answer"] for row in rows])
    expected = model.predict(rows, verbose=0)["answer"]
    # In int8 alone, steps of .02 between two rows' values leave nothing of the differences.
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())
