"""Names of clusters: scores against slow twins, the choice of a level, and when there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.words.hierarchy import Hierarchy
from spice_keras.words.naming import (
    ClusterName,
    NameLimits,
    WordEvidence,
    name_clusters,
    separation,
    vocabulary_fits,
    word_evidence,
)
from tests.reference import words as twin
from tests.words.drawn import WORDS, certain, draw, tree

_SPANIEL, _TERRIER, _CAT, _CAR, _TRUCK = range(5)


def _draw(seed: int, images: int = 17, k: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    p = draw(seed, images, len(WORDS))
    return p, generator.integers(0, k, images), generator.random(images)


@given(seed=st.integers(0, 10_000), cut=st.integers(1, 16))
def test_evidence_is_the_twins_however_the_images_are_cut(seed: int, cut: int) -> None:
    p, clusters, confidence = _draw(seed)
    found = word_evidence([p[:cut], p[cut:]], clusters, 3, confidence)
    means = twin.mean_probabilities(p, clusters.tolist(), 3)
    np.testing.assert_allclose(found.means, means, rtol=1e-5, atol=1e-9)
    opinions = twin.opinions(p, clusters.tolist(), 3, confidence.tolist())
    np.testing.assert_allclose(found.opinions(), opinions, rtol=1e-4, atol=1e-9)
    assert found.sizes.tolist() == [int((clusters == k).sum()) for k in range(3)]
    assert found.fit == pytest.approx(float(np.median(p.max(axis=1))))


@given(seed=st.integers(0, 10_000))
def test_separation_is_the_twins_and_lies_between_0_and_1(seed: int) -> None:
    p, clusters, _ = _draw(seed)
    evidence = word_evidence([p], clusters, 3)
    found = separation(evidence.means, evidence.sizes)
    expected = twin.f_scores(evidence.means.tolist(), evidence.sizes.tolist())
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    assert ((found >= 0) & (found <= 1 + 1e-9)).all()


def test_without_confidence_every_image_counts() -> None:
    p, clusters, _ = _draw(1)
    logs = [np.log(p[clusters == k]).mean(axis=0) for k in range(3)]
    np.testing.assert_allclose(word_evidence([p], clusters, 3).sure_logs, logs, rtol=1e-5)


def test_a_word_of_probability_zero_is_no_minus_infinity() -> None:
    p = np.array([[1.0, 0.0], [0.0, 1.0]])
    evidence = word_evidence([p], np.array([0, 1]), 2)
    assert np.isfinite(evidence.opinions()).all()
    assert [one.name for one in name_clusters(evidence, Hierarchy.flat("ab"))] == ["a", "b"]


def test_numbers_of_images_that_disagree() -> None:
    p, clusters, _ = _draw(0)
    with pytest.raises(ValueError, match="16 images"):
        word_evidence([p[:-1]], clusters, 3)
    with pytest.raises(ValueError, match="0 images"):
        word_evidence([], clusters[:0], 3)


def _names(
    kinds: list[list[int]], probability: float = 0.9, hierarchy: Hierarchy | None = None
) -> tuple[ClusterName, ...]:
    """Names of clusters whose images show these words."""
    p = np.concatenate([certain(words, len(WORDS), probability) for words in kinds])
    clusters = np.repeat(np.arange(len(kinds)), [len(words) for words in kinds])
    return name_clusters(word_evidence([p], clusters, len(kinds)), hierarchy or tree())


def test_a_cluster_of_one_kind_gets_the_most_specific_word() -> None:
    names = _names([[_SPANIEL] * 9, [_CAT] * 9, [_TRUCK] * 9])
    assert [one.name for one in names] == ["spaniel", "cat", "truck"]
    assert not any(one.reason for one in names)
    assert names[0].words[0][0] == "spaniel"
    assert names[0].concepts[0] == "spaniel"


def test_a_mixture_gets_the_word_that_covers_it() -> None:
    names = _names([[_SPANIEL, _TERRIER] * 5, [_CAR, _TRUCK] * 5, [_CAT] * 9])
    assert [one.name for one in names] == ["dog", "vehicle", "cat"]


def _said(opinions: list[list[float]], means: list[list[float]]) -> WordEvidence:
    """Clusters of ten images with these opinions and mean probabilities."""
    return WordEvidence(
        sizes=np.full(len(means), 10),
        means=np.array(means),
        sure_logs=0.5 * np.log(opinions),
        all_logs=np.zeros(len(means[0])),
        fit=0.9,
    )


# Of spaniel, terrier, cat, car and truck.
_TERRIERS = [[0.1, 0.87, 0.01, 0.01, 0.01], [0.01, 0.01, 0.01, 0.87, 0.1]]
_HARDLY = [[0.15, 0.25, 0.2, 0.2, 0.2], [0.2, 0.2, 0.2, 0.2, 0.2]]


def test_unsure_images_get_the_word_that_texts_use() -> None:
    """Texts say dog more often than terrier; images that show terriers decide for themselves."""
    unsure = _said(_TERRIERS, _HARDLY)
    assert [one.name for one in name_clusters(unsure, tree())] == ["dog", "car"]
    rare = tree(counts=np.array([0, 0, 0, 0, 3, 0, 9, 0, 0]))
    assert [one.name for one in name_clusters(unsure, rare)] == ["terrier", "vehicle"]
    sure = _said(_TERRIERS, _TERRIERS)
    assert [one.name for one in name_clusters(sure, tree())] == ["terrier", "car"]


def test_a_level_that_separates_far_less_is_no_choice() -> None:
    evidence = _said([[0.45, 0.5, 0.02, 0.02, 0.01], _TERRIERS[1]], _HARDLY)
    common = tree(counts=np.array([0, 0, 0, 0, 90, 0, 0, 0, 0]))
    assert name_clusters(evidence, common)[0].name == "dog"
    assert name_clusters(evidence, common, NameLimits(tolerance=0.4))[0].name == "terrier"


def test_a_mixture_of_everything_gets_no_name() -> None:
    names = _names([[_SPANIEL, _TERRIER, _CAT, _CAR, _TRUCK] * 4] * 2)
    assert [one.name for one in names] == [None, None]
    assert names[0].words == ()
    assert names[0].reason
    few = _said([[0.2] * 5] * 5, [[0.2] * 5] * 5)
    assert name_clusters(few, Hierarchy.flat("abcde"))[0].reason == (
        "No word sets this cluster apart: the best, a, reaches 0.20 of 1, below 0.35."
    )


def test_a_broad_word_is_no_name_and_nothing_below_it_is_claimed() -> None:
    evidence = _said([[0.3, 0.3, 0.38, 0.01, 0.01], _TERRIERS[1]], _HARDLY)
    assert name_clusters(evidence, tree())[0].reason == (
        "The word that covers this cluster, animal, is too broad to be a name."
    )
    narrow = tree(broad=np.zeros(9, bool))
    assert name_clusters(evidence, narrow)[0].name == "animal"
    # A word below it separates well enough, but texts would say the broad one.
    cats = _said([[0.05, 0.05, 0.88, 0.01, 0.01], _TERRIERS[1]], _HARDLY)
    assert name_clusters(cats, tree())[0].name == "cat"
    said = tree(counts=np.array([0, 80, 40, 1, 0, 20, 9, 60, 20]))
    assert name_clusters(cats, said)[0].name is None


def test_a_vocabulary_that_does_not_know_the_images_names_nothing() -> None:
    flat = Hierarchy.flat([f"w{number}" for number in range(50)])
    p = certain([0] * 8 + [1] * 8, 50, probability=0.1)
    evidence = word_evidence([p], np.repeat([0, 1], 8), 2)
    assert not vocabulary_fits(evidence)
    names = name_clusters(evidence, flat)
    assert [one.name for one in names] == [None, None]
    assert "a probability below 0.15 (median 0.10)" in names[0].reason
    assert vocabulary_fits(evidence, NameLimits(fit=0.05))


def test_a_word_that_few_images_show_is_no_name() -> None:
    """The surest half says it more than the others do, but hardly any image shows it."""
    evidence = _said(
        [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]], [[0.01, 0.001, 0.989], [0.001, 0.01, 0.989]]
    )
    names = name_clusters(evidence, Hierarchy.flat(["ax", "ski", "wall"]))
    assert [one.name for one in names] == [None, None]
    assert names[0].reason.startswith("Too few of the images look like the word")
    enough = name_clusters(
        evidence, Hierarchy.flat(["ax", "ski", "wall"]), NameLimits(evidence=0.01)
    )
    assert [one.name for one in enough] == ["ax", "ski"]


def test_two_clusters_of_one_kind_get_different_names() -> None:
    halves = [[0.02, 0.96, 0.02], [0.04, 0.92, 0.04], [0.49, 0.02, 0.49]]
    names = name_clusters(_said(halves, halves), Hierarchy.flat(["cat", "dog", "car"]))
    # The one it separates better has it alone.
    assert [one.name for one in names[:2]] == ["dog", "dog (2)"]
    dogs = [_TERRIERS[0], [0.12, 0.85, 0.01, 0.01, 0.01], _TERRIERS[1]]
    levels = [one.name for one in name_clusters(_said(dogs, dogs), tree())[:2]]
    assert levels == ["terrier", "dog"]


def test_two_concepts_of_one_word_get_different_names() -> None:
    crane = replace(Hierarchy.flat(["bird", "machine", "cat"]))
    crane = replace(crane, lemmas=(("crane",), ("crane", "derrick"), ("cat",)))
    p = certain([0] * 5 + [1] * 5 + [2] * 5, 3, 0.8)
    evidence = word_evidence([p], np.repeat([0, 1, 2], 5), 3)
    assert {one.name for one in name_clusters(evidence, crane)} == {"crane", "derrick", "cat"}
    same = replace(crane, lemmas=(("crane",), ("crane",), ("cat",)))
    assert {one.name for one in name_clusters(evidence, same)} == {"crane", "crane (2)", "cat"}


def test_further_words_are_neither_above_nor_below() -> None:
    mixed = [0.01, 0.01, 0.38, 0.59, 0.01]
    dogs = [0.49, 0.48, 0.01, 0.01, 0.01]
    trucks = [0.01, 0.01, 0.01, 0.01, 0.96]
    first = name_clusters(_said([mixed, dogs, trucks], [mixed, dogs, trucks]), tree())[0]
    assert first.concepts == ("car", "cat")
    assert [word for word, _ in first.words] == ["car", "cat"]
    values = [value for _, value in first.words]
    assert values == sorted(values, reverse=True)
    limits = NameLimits(further=1.9)
    assert name_clusters(_said([mixed, dogs, trucks], [mixed, dogs, trucks]), tree(), limits)[
        0
    ].concepts == ("car",)


@given(seed=st.integers(0, 10_000), k=st.integers(1, 6), sharpness=st.sampled_from([0.5, 3.0, 9.0]))
def test_what_holds_of_all_names(seed: int, k: int, sharpness: float) -> None:
    generator = np.random.default_rng(seed)
    p = draw(seed, 30, len(WORDS), sharpness)
    clusters = generator.integers(0, k, 30)
    hierarchy = tree()
    evidence = word_evidence([p], clusters, k, generator.random(30))
    names = name_clusters(evidence, hierarchy)
    given_names = [one.name for one in names if one.name is not None]
    assert len(names) == k
    assert len({*given_names}) == len(given_names)
    broad = {one for one, is_broad in zip(hierarchy.ids, hierarchy.broad, strict=True) if is_broad}
    for one in names:
        assert bool(one.reason) == (one.name is None)
        assert len(one.words) == len(one.concepts) <= 3
        assert not broad & {*one.concepts}
        if one.name is not None:
            assert one.words[0][0] == one.name
    again = name_clusters(evidence, hierarchy)
    assert again == names


@given(seed=st.integers(0, 10_000))
def test_the_order_of_the_clusters_does_not_matter(seed: int) -> None:
    p, clusters, confidence = _draw(seed, images=24)
    forward = name_clusters(word_evidence([p], clusters, 3, confidence), tree())
    backward = name_clusters(word_evidence([p], 2 - clusters, 3, confidence), tree())
    assert [one.name for one in forward] == [one.name for one in backward[::-1]]


def test_a_cluster_without_images_gets_no_name() -> None:
    p = certain([0] * 6 + [2] * 6, 5)
    names = name_clusters(word_evidence([p], np.repeat([0, 2], 6), 3), tree())
    assert names[1].name is None
    assert names[1].reason
