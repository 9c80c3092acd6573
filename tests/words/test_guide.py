"""Words as a guide: the cover of a vocabulary, its labels, and the gate."""

from __future__ import annotations

import numpy as np
import pytest

from spice_keras.errors import UserError
from spice_keras.words import probabilities as blocks
from spice_keras.words.coverage import cover_with_words
from spice_keras.words.guide import GUIDE_LIMIT, vocabulary_guides, word_guide
from spice_keras.words.probabilities import word_probabilities
from spice_keras.words.vocabulary import Vocabulary

_WORDS = tuple(f"word {place}" for place in range(9))


def _drawn(seed: int, *, bias: bool) -> tuple[Vocabulary, np.ndarray]:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(9, 4)).astype(np.float32)
    given = {"bias": generator.normal(size=9)} if bias else {"temperature": 0.3}
    vocabulary = Vocabulary(_WORDS, vectors, source="drawn", **given)  # type: ignore[arg-type]
    return vocabulary, generator.normal(size=(30, 4)).astype(np.float32)


@pytest.mark.parametrize("bias", [False, True])
def test_the_guide_is_the_cover_and_its_probabilities(
    bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary, features = _drawn(3, bias=bias)
    p = word_probabilities(vocabulary, features)
    cover = cover_with_words(p, 4)
    monkeypatch.setattr(blocks, "_BLOCK_NUMBERS", 9 * 7)  # blocks of seven images
    guide = word_guide(vocabulary, features, 4)
    assert guide.words == tuple(_WORDS[word] for word in cover.words)
    np.testing.assert_array_equal(guide.clusters, cover.clusters)
    among = p[:, cover.words]
    np.testing.assert_allclose(
        guide.labels, among / among.sum(axis=1, keepdims=True), rtol=2e-4, atol=1e-7
    )
    np.testing.assert_array_equal(guide.labels.argmax(axis=1), guide.clusters)
    assert guide.fit == pytest.approx(float(np.median(p.max(axis=1))))


def test_labels_stay_finite_where_no_chosen_word_is_likely() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], np.float32)
    vocabulary = Vocabulary(("a", "b", "c"), vectors, source="drawn", temperature=0.001)
    features = np.array([[1.0, 0.0]] * 5 + [[0.0, 1.0]] * 5 + [[-1.0, -1.0]], np.float32)
    guide = word_guide(vocabulary, features, 2)
    assert set(guide.words) == {"a", "b"}
    np.testing.assert_allclose(guide.labels.sum(axis=1), 1.0, rtol=1e-6)


def test_a_guide_needs_words_for_every_cluster() -> None:
    vocabulary, features = _drawn(0, bias=False)
    with pytest.raises(UserError, match="9 words, too few for 10"):
        word_guide(vocabulary, features, 10)
    with pytest.raises(UserError, match="vectors of 4 numbers"):
        word_guide(vocabulary, features[:, :3], 2)


def test_words_guide_from_the_limit_on() -> None:
    assert vocabulary_guides(GUIDE_LIMIT)
    assert not vocabulary_guides(GUIDE_LIMIT - 1e-6)
    assert vocabulary_guides(0.2, limit=0.1)
    assert not vocabulary_guides(0.9, limit=0.95)


@pytest.mark.parametrize("fit", [-0.1, 1.1, float("nan")])
def test_refuses_what_is_not_a_probability(fit: float) -> None:
    with pytest.raises(ValueError, match=f"fit={fit}"):
        vocabulary_guides(fit)
