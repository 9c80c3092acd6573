"""Words' probabilities: a classifier's softmax, and cosines with a temperature."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.errors import UserError
from spice_keras.words import probabilities
from spice_keras.words.probabilities import probability_blocks, word_probabilities
from spice_keras.words.vocabulary import Vocabulary
from tests.reference import words as twin


def _vocabulary(seed: int, *, temperature: float | None) -> Vocabulary:
    generator = np.random.default_rng(seed)
    return Vocabulary(
        nouns=tuple(f"word {number}" for number in range(6)),
        vectors=generator.standard_normal((6, 4)).astype(np.float32),
        source="drawn",
        bias=generator.standard_normal(6) if temperature is None else None,
        temperature=temperature,
    )


def _features(seed: int) -> np.ndarray:
    return np.random.default_rng(seed + 1).standard_normal((5, 4)).astype(np.float32)


@given(seed=st.integers(0, 10_000))
def test_a_classifiers_words(seed: int) -> None:
    vocabulary, x = _vocabulary(seed, temperature=None), _features(seed)
    assert vocabulary.bias is not None
    expected = twin.linear_probabilities(x, vocabulary.vectors, vocabulary.bias)
    np.testing.assert_allclose(word_probabilities(vocabulary, x), expected, rtol=1e-4, atol=1e-7)


@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-12, 0.3, 1e12]))
def test_cosines_do_not_see_lengths(seed: int, scale: float) -> None:
    vocabulary, x = _vocabulary(seed, temperature=0.1), _features(seed)
    expected = twin.cosine_probabilities(x, vocabulary.vectors, 0.1)
    found = word_probabilities(vocabulary, x * np.float32(scale))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7)


def test_large_logits_stay_finite() -> None:
    vocabulary, x = _vocabulary(0, temperature=None), _features(0) * 1e6
    p = word_probabilities(vocabulary, x)
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-5)


def test_blocks_are_the_whole_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary, x = _vocabulary(3, temperature=0.1), _features(3)
    monkeypatch.setattr(probabilities, "_BLOCK_NUMBERS", 12)
    blocks = [*probability_blocks(vocabulary, x)]
    assert [len(block) for block in blocks] == [2, 2, 1]
    np.testing.assert_allclose(np.concatenate(blocks), word_probabilities(vocabulary, x), rtol=1e-5)


def test_embeddings_of_another_width() -> None:
    with pytest.raises(UserError, match="vectors of 4 numbers, but the embeddings have 3"):
        word_probabilities(_vocabulary(0, temperature=None), np.zeros((2, 3)))
