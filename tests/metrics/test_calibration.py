"""Calibrated confidence: temperature, and the share that it aims at."""

from __future__ import annotations

import numpy as np
import pytest

from spice_keras.metrics.calibration import (
    SHARPEST,
    SOFTEST,
    cautious,
    temperature_for,
    tempered,
    tempered_weights,
)

_LOGITS = 3.0 * np.random.default_rng(0).normal(size=(400, 6))


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_logits_are_divided(temperature: float) -> None:
    found = tempered(_softmax(_LOGITS), temperature)
    np.testing.assert_allclose(found, _softmax(_LOGITS / temperature), atol=1e-6)


def test_the_weights_of_the_last_layer_are_divided() -> None:
    draws = np.random.default_rng(1)
    first, middle, last, bias = (draws.normal(size=shape) for shape in ((3, 4), 4, (4, 6), 6))
    found = tempered_weights([first, middle, last, bias], 2.5)
    np.testing.assert_array_equal(found[0], first)
    np.testing.assert_array_equal(found[1], middle)
    hidden = np.maximum(draws.normal(size=(5, 3)) @ first + middle, 0.0)
    logits = hidden @ last + bias
    np.testing.assert_allclose(hidden @ found[2] + found[3], logits / 2.5, rtol=1e-6)


def test_clusters_and_their_order_stay() -> None:
    before = _softmax(_LOGITS)
    after = tempered(before, 4.0)
    np.testing.assert_array_equal(np.argsort(before, axis=1), np.argsort(after, axis=1))
    np.testing.assert_allclose(tempered(after, 0.25), before, atol=1e-5)


@pytest.mark.parametrize("expected", [0.4, 0.7, 0.9])
def test_the_mean_confidence_is_the_share(expected: float) -> None:
    before = _softmax(_LOGITS)
    after = tempered(before, temperature_for(before, expected))
    assert after.max(axis=1).mean() == pytest.approx(expected, abs=1e-3)


def test_a_share_out_of_reach_ends_at_the_bounds() -> None:
    even, sure = np.full((5, 4), 0.25), np.eye(4)
    assert temperature_for(even, 0.9) == pytest.approx(SHARPEST, rel=1e-3)
    assert temperature_for(sure, 0.3) == pytest.approx(SOFTEST, rel=1e-3)
    assert np.isfinite(tempered(sure, SOFTEST)).all()


def test_caution_lowers_every_share() -> None:
    shares = np.array([0.05, 0.3, 0.6, 0.99])
    lowered = np.array([cautious(share) for share in shares])
    assert (lowered < shares).all()
    assert (np.diff(lowered) > 0).all()
