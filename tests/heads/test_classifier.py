"""The heads: one batched product equals a loop over heads; PyTorch's initialisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.algorithm.feature_space import FeatureSpace, fitted_space
from spice_keras.heads.classifier import FeatureScale, MultiHeadClassifier, scaled_features
from spice_keras.models.layers import projection_head
from tests.models.contract import check_layer, check_model


def _features(*shape: int) -> tf.Tensor:
    return tf.random.stateless_normal(shape, [1, 2])


_UNIT = FeatureSpace("unit")
_ROOTED = fitted_space(_features(20, 5).numpy(), "root-center")


def _loop(layer: MultiHeadClassifier, head: int, features: np.ndarray) -> np.ndarray:
    kernels = [weight.numpy()[head] for weight in layer.weights]
    if layer.space.scale != "none":
        features = layer.space.unit_rows(features) * features.shape[1] ** 0.5
    if layer.linear:
        return features @ kernels[0] + kernels[1]
    hidden = np.maximum(features @ kernels[0] + kernels[1], 0.0)
    return hidden @ kernels[2] + kernels[3]


FORMS = [
    {},
    {"hidden_dim": 7},
    {"linear": True},
    {"input_scale": "unit"},
    {"linear": True, "input_scale": "unit"},
    {"linear": True, "input_scale": _ROOTED},
]


@pytest.mark.parametrize("form", FORMS)
def test_equals_a_loop_over_heads(form: dict[str, Any]) -> None:
    layer = MultiHeadClassifier(3, 4, **form)
    shared, own = _features(6, 5), _features(3, 2, 5)
    of_shared, of_own = layer(shared).numpy(), layer(own).numpy()
    assert of_shared.shape == (3, 6, 4)
    assert of_own.shape == (3, 2, 4)
    for head in range(3):
        expected = _loop(layer, head, shared.numpy()), _loop(layer, head, own[head].numpy())
        np.testing.assert_allclose(of_shared[head], expected[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(of_own[head], expected[1], rtol=1e-5, atol=1e-6)


def test_parameter_count_of_the_paper() -> None:
    layer = MultiHeadClassifier(10, 10)
    layer.build((None, 512))
    assert layer.count_params() == 10 * 267_786


def test_projection_head_completes_the_count_of_moco() -> None:
    assert 11_168_832 + projection_head(512, 512, 128).count_params() == 11_497_152


@pytest.mark.parametrize("form", FORMS)
def test_contract(form: dict[str, Any], tmp_path: Path) -> None:
    check_layer(lambda: MultiHeadClassifier(3, 4, seed=1, **form), [_features(6, 5)], tmp_path)


def test_contract_of_the_scale(tmp_path: Path) -> None:
    check_layer(lambda: FeatureScale(_ROOTED), [_features(6, 5)], tmp_path)


def test_unit_scale_is_one_whatever_the_encoder() -> None:
    features = _features(6, 50)
    for factor in (1e-3, 1.0, 1e4):
        scaled = scaled_features(factor * features, _UNIT)
        np.testing.assert_allclose(tf.reduce_mean(scaled**2, axis=1), 1.0, rtol=1e-5)
        np.testing.assert_allclose(scaled, scaled_features(features, _UNIT), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(scaled_features(tf.zeros([1, 3]), _UNIT), [[0.0, 0.0, 0.0]])


@pytest.mark.parametrize("scale", ["unit", "center", "root-center"])
def test_the_scale_of_a_space_is_its_unit_rows_times_the_root_of_the_width(scale: str) -> None:
    features = _features(30, 5).numpy()
    features[3] = 0.0
    space = fitted_space(features, scale)  # type: ignore[arg-type]
    found = scaled_features(tf.constant(features), space)
    np.testing.assert_allclose(found, space.unit_rows(features) * 5**0.5, rtol=1e-4, atol=1e-5)


def test_a_head_taken_out_reads_the_same_space(tmp_path: Path) -> None:
    layer = MultiHeadClassifier(3, 4, linear=True, input_scale=_ROOTED)
    features = _features(6, 5)
    expected = layer(features)[1]
    model = layer.head_model(1)
    np.testing.assert_allclose(model(features), expected, rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras")
    np.testing.assert_allclose(loaded(features), expected, rtol=1e-5, atol=1e-6)


def test_a_linear_head_counts_only_its_layer() -> None:
    layer = MultiHeadClassifier(2, 10, linear=True)
    layer.build((None, 512))
    assert layer.count_params() == 2 * (512 * 10 + 10)


def test_projection_contract(tmp_path: Path) -> None:
    check_model(lambda: projection_head(5, 6, 7), _features(4, 5), tmp_path)


def test_logits_stay_float32_in_mixed_precision() -> None:
    layer = MultiHeadClassifier(2, 3, dtype="mixed_bfloat16")
    assert layer(_features(4, 5)).dtype == tf.float32


def test_initialisation_is_pytorchs() -> None:
    layer = MultiHeadClassifier(20, 10, 50)
    layer.build((None, 200))
    for weight, fan_in in zip(layer.weights, (200, 200, 50, 50), strict=True):
        values = np.abs(weight.numpy())
        assert values.max() <= fan_in**-0.5
        assert values.max() > 0.95 * fan_in**-0.5
    kernel = layer.hidden_kernel.numpy()
    assert np.abs(kernel[0] - kernel[1]).max() > 0.01


@pytest.mark.parametrize("form", FORMS)
def test_one_head_alone_gives_its_logits(form: dict[str, Any], tmp_path: Path) -> None:
    layer = MultiHeadClassifier(3, 4, **form)
    features = 9.0 * _features(6, 5)
    logits = layer(features)
    for head in range(3):
        np.testing.assert_allclose(
            layer.head_model(head)(features), logits[head], rtol=1e-5, atol=1e-5
        )
    layer.head_model(2).save(tmp_path / "head.keras")
    loaded = keras.saving.load_model(tmp_path / "head.keras")
    np.testing.assert_allclose(loaded(features), logits[2], rtol=1e-5, atol=1e-5)


def test_refuses_a_head_that_does_not_exist() -> None:
    layer = MultiHeadClassifier(3, 4)
    layer.build((None, 5))
    with pytest.raises(ValueError, match="head=3"):
        layer.head_model(3)


@pytest.mark.parametrize(("heads", "clusters", "hidden"), [(0, 4, None), (1, 1, None), (1, 2, 0)])
def test_refuses_empty_heads(heads: int, clusters: int, hidden: int | None) -> None:
    with pytest.raises(ValueError, match="num_clusters >= 2"):
        MultiHeadClassifier(heads, clusters, hidden)


def test_refuses_a_width_for_a_layer_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="linear=True, hidden_dim=5"):
        MultiHeadClassifier(2, 3, 5, linear=True)


def test_refuses_an_unknown_scale() -> None:
    with pytest.raises(ValueError, match="scale='big'"):
        MultiHeadClassifier(2, 3, input_scale="big")  # type: ignore[arg-type]


def test_refuses_features_of_unknown_width() -> None:
    with pytest.raises(ValueError, match="known D"):
        MultiHeadClassifier(2, 3)(keras.Input((None,)))
