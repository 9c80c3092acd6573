from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from spice_keras.algorithm.feature_space import FeatureSpace
from spice_keras.heads.classifier import MultiHeadClassifier
from spice_keras.heads.inference import head_probabilities


def unit(features: np.ndarray, block_size: int = 7) -> np.ndarray:
    found = np.full(features.shape, np.nan)
    for rows, block in FeatureSpace("unit").blocks(features, block_size):
        assert len(block) <= block_size
        found[rows] = block
    return found


def head(linear: bool, dim: int = 5, clusters: int = 4) -> tuple[MultiHeadClassifier, list]:
    classifier = MultiHeadClassifier(
        2, clusters, None if linear else 6, linear=linear, input_scale="unit"
    )
    classifier.build((None, dim))
    return classifier, [np.asarray(weight)[1] for weight in classifier.weights]


@given(
    hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.uint16, np.int64]),
        st.tuples(st.integers(1, 20), st.integers(1, 6)),
        elements=st.integers(0, 100),
    )
)
def test_rows_of_any_type_come_to_unit_length(features: np.ndarray) -> None:
    lengths = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    expected = features / np.where(lengths > 0, lengths, 1.0)
    np.testing.assert_allclose(unit(features), expected, rtol=1e-12)


@pytest.mark.parametrize("size", [5e-324, 1e-310, 1e-200, 1.0, 1e200, 1e308])
def test_the_size_of_a_row_has_no_influence(size: float) -> None:
    found = unit(np.array([[size, 0.0, -size, size]]))
    np.testing.assert_allclose(found, np.array([[1.0, 0.0, -1.0, 1.0]]) / 3**0.5, rtol=1e-12)


@pytest.mark.parametrize("linear", [True, False])
def test_the_probabilities_of_the_head_in_keras(linear: bool) -> None:
    classifier, weights = head(linear)
    features = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    features[7] = 0.0
    logits = np.asarray(classifier(features))[1]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = head_probabilities(features, weights)
    assert found.shape == (50, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("linear", [True, False])
def test_equal_rows_have_equal_probabilities_wherever_they_stand(linear: bool) -> None:
    """Even where two clusters tie: a product's last bits must not decide."""
    _, weights = head(linear, dim=67, clusters=9)
    weights[-2][:, 1::2], weights[-1][1::2] = weights[-2][:, :1], weights[-1][0]
    features = np.tile(np.random.default_rng(0).normal(size=(1, 67)), (9001, 1))
    whole = head_probabilities(features, weights)
    assert len(np.unique(whole.argmax(axis=1))) == 1
    np.testing.assert_allclose(whole, np.tile(whole[:1], (9001, 1)), rtol=1e-6)
    alone = head_probabilities(features[:1], weights)
    np.testing.assert_allclose(alone, whole[:1], rtol=1e-6)


def test_a_difference_below_the_precision_of_the_weights_is_a_tie() -> None:
    """float64 tells 1 from 1 + 2^-30, but rounding in the product may as well have made it."""
    weights = [np.array([[0.0, 2.0**-30]], np.float32), np.ones(2, np.float32)]
    assert head_probabilities(np.array([[1.0]]), weights).tolist() == [[0.5, 0.5]]


def test_large_logits_do_not_overflow() -> None:
    weights = [np.array([[1e6, -1e6]], np.float32), np.zeros(2, np.float32)]
    assert head_probabilities(np.array([[3.0], [-2.0]]), weights).tolist() == [[1, 0], [0, 1]]
