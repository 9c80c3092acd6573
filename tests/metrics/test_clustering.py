from __future__ import annotations

import doctest
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from spice_keras.metrics import clustering
from spice_keras.metrics.clustering import (
    adjusted_rand_index,
    balanced_accuracy,
    clustering_accuracy,
    contingency,
    match_clusters,
    normalized_mutual_information,
    purity,
)
from tests.reference import clustering as reference


def nmi_arithmetic(labels: Any, clusters: Any) -> float:
    return normalized_mutual_information(labels, clusters, average="arithmetic")


# Every metric of the file, with its smallest possible value.
METRICS: dict[str, tuple[Callable[[Any, Any], float], float]] = {
    "clustering_accuracy": (clustering_accuracy, 0.0),
    "balanced_accuracy": (balanced_accuracy, 0.0),
    "purity": (purity, 0.0),
    "normalized_mutual_information": (normalized_mutual_information, 0.0),
    "nmi_arithmetic": (nmi_arithmetic, 0.0),
    "adjusted_rand_index": (adjusted_rand_index, -0.5),
}
SYMMETRIC = [
    "clustering_accuracy",
    "normalized_mutual_information",
    "nmi_arithmetic",
    "adjusted_rand_index",
]
every_metric = pytest.mark.parametrize("name", METRICS)

ids = st.integers(0, 4)
partitions = st.integers(1, 12).flatmap(
    lambda size: st.tuples(*2 * [st.lists(ids, min_size=size, max_size=size)])
)


def test_registry_is_complete() -> None:
    public = {
        name
        for name, one in vars(clustering).items()
        if callable(one) and one.__module__ == clustering.__name__ and not name.startswith("_")
    }
    assert public - {"contingency", "match_clusters"} == set(METRICS) - {"nmi_arithmetic"}


@every_metric
@given(pair=partitions, seed=st.integers(0, 99))
def test_names_and_order_do_not_matter(
    name: str, pair: tuple[list[int], list[int]], seed: int
) -> None:
    metric, _ = METRICS[name]
    labels, clusters = (np.array(one) for one in pair)
    generator = np.random.default_rng(seed)
    expected = pytest.approx(metric(labels, clusters), abs=1e-12)
    assert metric(labels, generator.permutation(9)[clusters]) == expected
    assert metric(generator.permutation(9)[labels], clusters) == expected
    order = generator.permutation(len(labels))
    assert metric(labels[order], clusters[order]) == expected


@every_metric
@given(pair=partitions)
def test_is_a_plain_float_within_its_bounds(name: str, pair: tuple[list[int], list[int]]) -> None:
    metric, smallest = METRICS[name]
    value = metric(*pair)
    assert type(value) is float
    assert smallest <= value <= 1.0


@every_metric
@given(labels=st.lists(ids, min_size=1, max_size=12))
def test_equal_partitions_score_1(name: str, labels: list[int]) -> None:
    assert METRICS[name][0](labels, labels) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("name", SYMMETRIC)
@given(pair=partitions)
def test_symmetric(name: str, pair: tuple[list[int], list[int]]) -> None:
    metric, _ = METRICS[name]
    assert metric(*pair) == pytest.approx(metric(*reversed(pair)), abs=1e-12)


@every_metric
def test_any_integer_type_and_lists_score_alike(name: str) -> None:
    metric, _ = METRICS[name]
    labels, clusters = [0, 1, 1, 2, 0], [1, 1, 0, 2, 1]
    expected = metric(labels, clusters)
    for dtype in (np.int32, np.int64, np.uint8):
        assert metric(np.array(labels, dtype), np.array(clusters, dtype)) == expected


@every_metric
def test_single_sample(name: str) -> None:
    assert METRICS[name][0]([3], [0]) == 1.0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("clustering_accuracy", 0.5),
        ("balanced_accuracy", 0.5),
        ("purity", 0.5),
        ("normalized_mutual_information", 0.0),
        ("nmi_arithmetic", 0.0),
        ("adjusted_rand_index", 0.0),
    ],
)
def test_a_single_cluster_says_nothing(name: str, expected: float) -> None:
    assert METRICS[name][0]([0, 0, 1, 1], [2, 2, 2, 2]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("clustering_accuracy", 0.5),
        ("balanced_accuracy", 0.5),
        ("purity", 1.0),
        ("normalized_mutual_information", np.sqrt(0.5)),
        ("nmi_arithmetic", 2 / 3),
        ("adjusted_rand_index", 0.0),
    ],
)
def test_more_clusters_than_classes(name: str, expected: float) -> None:
    assert METRICS[name][0]([0, 0, 1, 1], [0, 1, 2, 3]) == pytest.approx(expected, abs=1e-12)


@every_metric
@pytest.mark.parametrize(
    ("labels", "clusters", "message"),
    [
        ([], [], r"shapes \(0,\) and \(0,\)"),
        ([0, 1], [0], r"shapes \(2,\) and \(1,\)"),
        ([[0, 1]], [[0, 1]], r"shapes \(1, 2\)"),
        ([0.0, 1.0], [0, 1], "dtype=float64"),
        ([0, 1], [0.0, float("nan")], "dtype=float64"),
        ([0, -100], [0, 1], "smallest=-100"),
    ],
)
def test_refuses_what_is_no_labelling(
    name: str, labels: list, clusters: list, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        METRICS[name][0](labels, clusters)


@given(pair=partitions)
def test_accuracy_equals_brute_force_over_all_matchings(pair: tuple[list[int], list[int]]) -> None:
    assert clustering_accuracy(*pair) == pytest.approx(reference.clustering_accuracy(*pair))


@given(pair=partitions)
def test_balanced_accuracy_equals_brute_force_over_all_matchings(
    pair: tuple[list[int], list[int]],
) -> None:
    assert balanced_accuracy(*pair) == pytest.approx(reference.balanced_accuracy(*pair))


@given(pair=partitions)
def test_purity_equals_counting_and_bounds_accuracy(pair: tuple[list[int], list[int]]) -> None:
    assert purity(*pair) == pytest.approx(reference.purity(*pair))
    assert purity(*pair) >= clustering_accuracy(*pair) - 1e-12


@pytest.mark.parametrize("average", ["geometric", "arithmetic"])
@given(pair=partitions)
def test_nmi_equals_entropies(average: Any, pair: tuple[list[int], list[int]]) -> None:
    labels, clusters = pair
    assume(len(set(labels)) > 1 and len(set(clusters)) > 1)
    actual = normalized_mutual_information(labels, clusters, average)
    expected = reference.normalized_mutual_information(labels, clusters, average)
    assert actual == pytest.approx(expected, abs=1e-7)
    sklearns = normalized_mutual_info_score(labels, clusters, average_method=average)
    assert actual == pytest.approx(sklearns, abs=1e-12)


@given(pair=partitions)
def test_ari_equals_counting_pairs(pair: tuple[list[int], list[int]]) -> None:
    labels, clusters = pair
    assume(any(1 < len(set(one)) < len(one) for one in pair))
    actual = adjusted_rand_index(labels, clusters)
    assert actual == pytest.approx(reference.adjusted_rand_index(labels, clusters), abs=1e-9)
    assert actual == pytest.approx(adjusted_rand_score(labels, clusters), abs=1e-12)


@given(pair=partitions)
def test_matching_is_one_to_one_among_the_ids_that_occur(pair: tuple[list[int], list[int]]) -> None:
    labels, clusters = pair
    matching = match_clusters(labels, clusters)
    assert set(matching) <= set(clusters)
    assert set(matching.values()) <= set(labels)
    assert len(set(matching.values())) == len(matching)
    assert len(matching) == min(len(set(labels)), len(set(clusters)))
    agreeing = sum(matching.get(k) == c for c, k in zip(labels, clusters, strict=True))
    assert agreeing / len(labels) == pytest.approx(clustering_accuracy(labels, clusters))
    assert all(type(one) is int for item in matching.items() for one in item)


def test_an_unused_id_takes_no_class_from_a_used_one() -> None:
    assert match_clusters([0, 1, 0, 1], [3, 7, 3, 7]) == {3: 0, 7: 1}


@given(pair=partitions)
def test_contingency_counts_every_sample_once(pair: tuple[list[int], list[int]]) -> None:
    labels, clusters = pair
    counts = contingency(labels, clusters, num_classes=6, num_clusters=7)
    assert counts.shape == (6, 7)
    assert counts.dtype == np.int64
    samples = list(zip(labels, clusters, strict=True))
    for (label, cluster), count in np.ndenumerate(counts):
        assert count == samples.count((label, cluster))


def test_contingency_refuses_ids_beyond_the_given_number() -> None:
    with pytest.raises(ValueError, match=r"`num_clusters` must be at least 4.* Received: 3"):
        contingency([0, 1], [0, 3], num_clusters=3)


def test_refuses_an_unknown_average() -> None:
    with pytest.raises(ValueError, match="Received: average='max'"):
        normalized_mutual_information([0, 1], [0, 1], average="max")  # type: ignore[arg-type]


def test_many_samples_and_clusters_do_not_overflow_or_stall() -> None:
    labels = np.repeat(np.arange(200, dtype=np.int32), 500)
    clusters = (labels[::-1] * 3) % 200
    assert clustering_accuracy(labels, clusters) > 0
    assert contingency(labels, clusters).sum() == 100_000


def test_examples_in_the_docstrings() -> None:
    failed, attempted = doctest.testmod(clustering)
    assert (failed, attempted > 0) == (0, True)
