from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from spice_keras.options import Start
from spice_keras.report.clustering import Clustering
from spice_keras.report.setup import HeadSetup
from spice_keras.report.verdict import (
    CAVEAT,
    LOCAL_CONSISTENCY,
    Band,
    Check,
    Verdict,
    baseline_check,
    cluster_size_check,
    local_consistency_check,
    reliable_check,
    trust_verdict,
)
from tests.report.run_data import figures_row, run_metrics, without_labels


def clustering(sizes: Sequence[int], num_reliable: int) -> Clustering:
    clusters = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    count = len(clusters)
    sure, reliable = np.ones(count, np.float32), np.arange(count) < num_reliable
    return Clustering(len(sizes), clusters, sure, reliable, np.ones(count, bool), {}, {})


def verdict(
    metrics: dict[str, Any],
    sizes: tuple[int, ...] = (25, 25, 25, 25),
    heads: HeadSetup = HeadSetup(),  # noqa: B008
) -> Verdict:
    return trust_verdict(metrics, clustering(sizes, 70), [17] * len(sizes), heads)


def check(result: Verdict, name: str) -> Check:
    return next(item for item in result.checks if item.name == name)


def test_a_band_includes_its_limits_upwards() -> None:
    band = Band(strong=0.8, weak=0.5)
    assert [band.grade(value) for value in (0.8, 0.79, 0.5, 0.49)] == [
        "strong",
        "mixed",
        "mixed",
        "weak",
    ]


def test_strong_needs_every_check_strong() -> None:
    assert verdict(run_metrics()).level == "strong"
    metrics = run_metrics() | {"self": figures_row(head_agreement=0.6)}
    assert verdict(metrics).level == "mixed"


def test_two_weak_checks_or_one_essential_one_make_it_weak() -> None:
    weak_heads = run_metrics() | {"self": figures_row(head_agreement=0.1)}
    assert verdict(weak_heads).level == "mixed"
    assert verdict(weak_heads, (50, 50, 0, 0)).level == "weak"
    assert verdict(run_metrics() | {"semi": figures_row(acc=0.5)}).level == "weak"


def test_without_figures_there_is_no_verdict() -> None:
    assert verdict({}).level == "unknown"
    assert verdict({"semi": None, "self": {}}).level == "unknown"


def test_works_without_labels_and_without_semi() -> None:
    metrics = {name: without_labels(row) for name, row in run_metrics().items() if name != "semi"}
    result = verdict(metrics)
    assert result.level == "strong"
    assert "Accuracy" not in {item.name for item in result.checks}
    assert "Without labels this cannot tell" in check(result, "Against k-means").sentence


def test_sentences_state_figure_and_limits_and_end_with_the_caveat() -> None:
    result = verdict(run_metrics())
    assert len(result.sentences) == len(result.checks) + 2
    assert result.sentences[-1] == CAVEAT
    sentence = check(result, "Local consistency").sentence
    assert f"{LOCAL_CONSISTENCY.strong:.2f}" in sentence
    assert f"{LOCAL_CONSISTENCY.weak:.2f}" in sentence
    assert "93.0" in sentence


def test_local_consistency_is_corrected_for_chance() -> None:
    # Sizes 90 and 10: chance .82, so .90 is (.90 - .82) / .18 = .44 and weak.
    uneven = local_consistency_check({"local_consistency": 0.9}, [90, 10])
    assert uneven is not None
    assert uneven.grade == "weak"
    assert "0.44" in uneven.sentence
    even = local_consistency_check({"local_consistency": 0.9}, [10] * 10)
    assert even is not None
    assert even.grade == "strong"


def test_one_cluster_with_everything_is_weak_however_consistent() -> None:
    collapsed = local_consistency_check({"local_consistency": 1.0}, [100, 0, 0])
    assert collapsed is not None
    assert collapsed.grade == "weak"


def test_empty_clusters_are_weak_and_named() -> None:
    result = cluster_size_check([10, 0, 5, 0])
    assert result is not None
    assert (result.grade, result.value) == ("weak", "2 empty")
    assert "2 clusters of 4" in result.sentence
    assert "clusters 1, 3" in result.sentence


@pytest.mark.parametrize(("smallest", "grade"), [(100, "strong"), (10, "mixed"), (1, "weak")])
def test_the_smallest_cluster_is_held_against_an_equal_share(smallest: int, grade: str) -> None:
    result = cluster_size_check([smallest, 200 - smallest])
    assert result is not None
    assert result.grade == grade
    assert f"{smallest}\N{NO-BREAK SPACE}%" in result.sentence


def test_reliable_share_names_clusters_without_any() -> None:
    result = reliable_check(60, [70, 30], [60, 0])
    assert result is not None
    assert (result.grade, result.value) == ("mixed", "60.0\N{NO-BREAK SPACE}%")
    assert "cluster 1" in result.sentence
    assert reliable_check(0, [], []) is None
    none = reliable_check(0, [70, 30], [0, 0])
    assert none is not None
    assert none.grade == "weak"
    assert "No cluster has a reliable image." in none.sentence


def test_gain_is_taken_over_the_better_baseline() -> None:
    metrics = {"kmeans_embeddings": {"acc": 0.7}, "kmeans_pixels": {"acc": 0.8}}
    result = baseline_check({"acc": 0.75}, metrics)
    assert result is not None
    assert (result.value, result.grade) == ("-5.0 points", "weak")
    assert baseline_check({"acc": 0.75}, {"kmeans_pixels": None}) is None


def test_not_a_number_is_not_graded() -> None:
    metrics = {"self": figures_row(acc=float("nan"), local_consistency=float("nan"))}
    assert verdict(metrics).level == "unknown"


def test_only_the_baselines_that_were_measured_are_named() -> None:
    result = baseline_check({"acc": 0.75}, {"kmeans_embeddings": {"acc": 0.7}})
    assert result is not None
    assert "k-means on embeddings: 70.0" in result.sentence
    assert "pixels" not in result.sentence
    assert "better" not in result.sentence


def test_a_run_without_images_is_judged_as_items() -> None:
    row = figures_row(head_agreement=0.1)
    for sizes in ((60, 40), (100, 0)):
        result = trust_verdict(
            {"self": row, "kmeans_embeddings": figures_row()},
            clustering(sizes, 9),
            [9, 0],
            HeadSetup(objective="neighbors"),
            "item",
        )
        texts = [*result.sentences, *(item.name for item in result.checks)]
        assert not [text for text in texts if "image" in text]
        assert check(result, "Reliable items").value == "9.0\N{NO-BREAK SPACE}%"


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("random", "different random weights"),
        ("kmeans", "different runs of k-means"),
        ("balanced-kmeans", "different runs of balanced k-means"),
        ("spectral", "different runs of spectral clustering"),
    ],
)
def test_the_verdict_says_what_the_heads_started_from(start: Start, words: str) -> None:
    result = verdict(run_metrics(), heads=HeadSetup(start=start, num_heads=7))
    sentence = check(result, "Head agreement").sentence
    assert f"7 clustering heads, small classifiers that start from {words}, " in sentence


def test_one_head_agrees_with_none() -> None:
    result = verdict(run_metrics(), heads=HeadSetup(num_heads=1))
    assert "Head agreement" not in {item.name for item in result.checks}


def test_a_collapse_is_weak_whatever_its_figures() -> None:
    """Heads that agree on one cluster, and neighbours in it, are no sign of anything."""
    sizes = [0, 100, 0]
    row = without_labels(
        figures_row(head_agreement=1.0, local_consistency=1.0, cluster_sizes=sizes)
    )
    metrics = {"self": row, "kmeans_embeddings": without_labels(figures_row())}
    result = trust_verdict(metrics, clustering(sizes, 100), sizes, HeadSetup())
    assert result.level == "weak"
    assert "every image is in one cluster" in result.headline
    assert {item.grade for item in result.checks} == {"weak"}
    assert check(result, "Cluster sizes").sentence.startswith("All 100 images are in cluster 1")
    assert verdict({}, (0, 100)).level == "weak"


_EXPECTED = {"acc": 0.72, "low": 0.6, "high": 0.81, "purity": 0.75}


def test_without_labels_the_headline_states_the_expected_accuracy() -> None:
    metrics = {name: without_labels(row) for name, row in run_metrics().items()}
    found = verdict(metrics | {"expected_accuracy": _EXPECTED})
    assert found.headline.startswith("Expected accuracy about 0.72 (0.60\N{EN DASH}0.81). ")
    assert check(found, "Expected accuracy").grade == "mixed"
    assert "four in five lay between 60" in check(found, "Expected accuracy").sentence


def test_an_accuracy_that_was_measured_takes_its_place() -> None:
    found = verdict(run_metrics() | {"expected_accuracy": _EXPECTED})
    assert "Expected accuracy" not in {one.name for one in found.checks}
    assert not found.headline.startswith("Expected")


def test_what_words_reach_at_least_is_stated_and_never_weak() -> None:
    metrics = {name: without_labels(row) for name, row in run_metrics().items()}
    found = verdict(metrics | {"least_accuracy": 0.21})
    assert found.headline.startswith("Accuracy probably 0.21 or more. ")
    assert check(found, "Least accuracy").grade == "mixed"
    assert re.search(r"at least 21\s?%", check(found, "Least accuracy").sentence)
    measured = verdict(run_metrics() | {"least_accuracy": 0.21})
    assert "Least accuracy" not in {one.name for one in measured.checks}


def test_few_items_a_cluster_leave_the_verdict_open() -> None:
    metrics = {"self": figures_row(acc=None, local_consistency=0.99)}
    few = verdict(metrics, (4, 3, 4, 4))
    assert few.level == "unknown"
    assert few.headline == (
        "How far to trust these clusters cannot be told: 15 images in 4 clusters are too few. What "
        "neighbours say counts from four images a cluster on, 16 here."
    )
    names = {check.name for check in few.checks}
    assert names.isdisjoint({"Local consistency", "Reliable images", "Against k-means"})
    assert "Local consistency" in {check.name for check in verdict(metrics, (4, 4, 4, 4)).checks}


def test_few_items_with_labels_are_judged_by_them() -> None:
    few = verdict(run_metrics(), (4, 3, 4, 4))
    assert check(few, "Accuracy").grade == "strong"
    assert few.level == "mixed"  # strong takes local consistency, which is not asked
