"""The gate: words guide clusters only if the vocabulary knows the images."""

from __future__ import annotations

import pytest

from spice_keras.words.guide import GUIDE_LIMIT, vocabulary_guides


def test_words_guide_from_the_limit_on() -> None:
    assert vocabulary_guides(GUIDE_LIMIT)
    assert not vocabulary_guides(GUIDE_LIMIT - 1e-6)
    assert vocabulary_guides(0.2, limit=0.1)
    assert not vocabulary_guides(0.9, limit=0.95)


@pytest.mark.parametrize("fit", [-0.1, 1.1, float("nan")])
def test_refuses_what_is_not_a_probability(fit: float) -> None:
    with pytest.raises(ValueError, match=f"fit={fit}"):
        vocabulary_guides(fit)
