"""K words by facility location, against a slow twin, and what must hold of any cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.errors import UserError
from spice_keras.words.coverage import cover_with_words
from tests.reference import words as twin
from tests.words.drawn import certain, draw


@given(seed=st.integers(0, 10_000), k=st.integers(1, 5), candidates=st.integers(5, 9))
def test_the_words_and_clusters_are_the_twins(seed: int, k: int, candidates: int) -> None:
    p = draw(seed, 20, 9)
    cover = cover_with_words(p, k, num_candidates=candidates)
    words, clusters = twin.cover(p, k, candidates)
    assert cover.words.tolist() == words
    assert cover.clusters.tolist() == clusters


@given(seed=st.integers(0, 10_000), k=st.integers(1, 9))
def test_gains_never_increase_and_add_up_to_the_cover(seed: int, k: int) -> None:
    p = draw(seed, 15, 9)
    cover = cover_with_words(p, k)
    assert len(set(cover.words.tolist())) == k
    assert (np.diff(cover.gains) <= 1e-7).all()
    reached = np.sqrt(p[:, cover.words]).max(axis=1).mean()
    assert cover.gains.sum() == pytest.approx(reached, rel=1e-5)


def test_each_kind_gets_its_word() -> None:
    kinds = [7, 2, 5]
    p = certain([*kinds * 6, 7], 10, probability=0.7)
    cover = cover_with_words(p, 3)
    assert cover.words[0] == 7
    assert {*cover.words.tolist()} == {*kinds}
    assert cover.words[cover.clusters].tolist() == [*kinds * 6, 7]


def test_a_rare_word_is_not_a_candidate() -> None:
    p = np.array([[0.6, 0.3, 0.1]] * 9 + [[0.0, 0.3, 0.7]])
    assert 2 in cover_with_words(p, 2).words
    assert 2 not in cover_with_words(p, 2, num_candidates=2).words


def test_too_few_words_or_candidates() -> None:
    p = draw(0, 4, 3)
    with pytest.raises(UserError, match="has 3 words, too few for 4 clusters"):
        cover_with_words(p, 4)
    with pytest.raises(ValueError, match="num_candidates=1"):
        cover_with_words(p, 2, num_candidates=1)
    with pytest.raises(ValueError, match="0 images"):
        cover_with_words(p[:0], 2)
