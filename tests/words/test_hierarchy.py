"""Concepts above words: what lies below each, and the sums over it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.words.hierarchy import Hierarchy
from tests.reference import words as twin
from tests.words.drawn import IDS, PARENTS, WORDS, draw, tree


@given(seed=st.integers(0, 10_000))
def test_masses_are_the_sums_over_the_words_below(seed: int) -> None:
    p = draw(seed, 3, len(WORDS))
    expected = [twin.masses(row, PARENTS, WORDS) for row in p.tolist()]
    np.testing.assert_allclose(tree().masses(p), expected, rtol=1e-6)


@st.composite
def _graphs(draw_from: st.DrawFn) -> tuple[tuple[int, ...], ...]:
    """Parents with smaller positions only, several of them or none."""
    size = draw_from(st.integers(1, 9))
    return tuple(
        tuple(sorted(draw_from(st.sets(st.integers(0, place - 1), max_size=3)))) if place else ()
        for place in range(size)
    )


@given(parents=_graphs(), seed=st.integers(0, 1000))
def test_a_word_counts_once_below_a_concept_however_many_ways_lead_up(
    parents: tuple[tuple[int, ...], ...], seed: int
) -> None:
    size = len(parents)
    hierarchy = Hierarchy(
        ids=tuple(f"c{one}" for one in range(size)),
        lemmas=(("x",),) * size,
        parents=parents,
        word_concepts=np.arange(size),
        counts=np.zeros(size, int),
        broad=np.zeros(size, bool),
    )
    p = draw(seed, 2, size)
    expected = [twin.masses(row, parents, range(size)) for row in p.tolist()]
    np.testing.assert_allclose(hierarchy.masses(p), expected, rtol=1e-6)
    assert hierarchy.num_words.tolist() == [len(twin.below(parents, c)) for c in range(size)]
    for one in range(size):
        for other in range(size):
            related = one in twin.below(parents, other) or other in twin.below(parents, one)
            assert hierarchy.on_one_line(one, other) == related


def test_depth_is_the_longest_way_up() -> None:
    assert tree().depth.tolist() == [0, 1, 2, 3, 3, 2, 1, 2, 2]
    shortcut = tuple(
        (0, 2) if one == "spaniel" else up for one, up in zip(IDS, PARENTS, strict=True)
    )
    assert tree(parents=shortcut).depth.tolist()[3] == 3


def test_words_alone_have_nothing_above_them() -> None:
    flat = Hierarchy.flat(["a", "b"])
    np.testing.assert_allclose(flat.masses(np.array([[0.25, 0.75]])), [[0.25, 0.75]])
    assert flat.on_one_line(0, 0)
    assert not flat.on_one_line(0, 1)


def test_a_concept_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="none below 'truck'"):
        tree(word_concepts=np.array([3, 4, 5, 7]))
    with pytest.raises(ValueError, match="lengths"):
        tree(counts=np.zeros(3, int))
