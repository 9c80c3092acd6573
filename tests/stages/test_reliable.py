"""Reliable labels as a stage: what is written, what is said, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spice_keras.errors import UserError
from spice_keras.files import write_json
from spice_keras.run.store import Reliable
from spice_keras.stages.reliable import select_reliable, uneven_shares
from tests.stages.made_run import (
    COUNT,
    PER_CLUSTER,
    make_context,
    said,
    truth,
    write_heads,
)

_NEIGHBORS = {
    "self__objective": "neighbors",
    "self__cached_views": {"weak": 4, "strong": 6},
}


def test_where_heads_and_neighbours_agree_all_are_reliable(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    write_heads(context, truth())
    select_reliable(context)
    found = context.load(Reliable)
    rows, clusters = found.indices, found.labels
    np.testing.assert_array_equal(rows, np.arange(COUNT))
    np.testing.assert_array_equal(clusters, truth())
    assert said(context) == "reliable: 36 of 36 images, by cluster 12, 12, 12.\n"


def test_of_many_clusters_the_counts_are_told_in_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spice_keras.stages.reliable._MOST_COUNTS", 2)
    context = make_context(tmp_path)
    write_heads(context, truth())
    select_reliable(context)
    assert said(context) == "reliable: 36 of 36 images, 12 to 12 in each of 3 clusters.\n"


def test_a_wrong_or_unsure_image_is_left_out(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    clusters, confidence = truth(), np.full(COUNT, 0.999)
    clusters[0] = 2  # among neighbours of cluster 0
    confidence[5] = 0.99
    write_heads(context, clusters, confidence)
    select_reliable(context)
    rows = context.load(Reliable).indices
    assert 0 not in rows
    assert 5 not in rows
    assert 2 * PER_CLUSTER < len(rows) < COUNT - 1


def test_thresholds_and_counts_are_written_beside_the_labels(tmp_path: Path) -> None:
    context = make_context(tmp_path, reliable__consistency_threshold=0.5)
    write_heads(context, truth())
    select_reliable(context)
    folder = context.run.read("reliable", written_by="self")
    facts = json.loads((folder / "thresholds.json").read_text())
    assert facts == {
        "num_neighbors": 6,
        "consistency_threshold": 0.5,
        "confidence_threshold": 0.99,
        "min_per_cluster": 2,
        "balance": "none",
        "reliable": COUNT,
        "counts": [PER_CLUSTER] * 3,
        "repaired": [],
        "empty": [],
    }
    with np.load(folder / "reliable.npz") as archive:
        np.testing.assert_array_equal(archive["consistency"], np.ones(COUNT))


def test_a_cluster_with_too_few_is_repaired_and_it_is_said(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    write_heads(context, truth(), np.where(truth() == 1, 0.5, 0.999))
    select_reliable(context)
    clusters = context.load(Reliable).labels
    assert np.bincount(clusters).tolist() == [12, 2, 12]
    assert "Note: cluster 1 had fewer than 2 reliable images; the most" in said(context)
    assert "reliable.min_per_cluster" in said(context)


def test_an_empty_cluster_is_said_with_the_number_to_ask_for(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    write_heads(context, np.where(truth() == 2, 0, truth()))
    select_reliable(context)
    assert "Note: empty: cluster 2. The heads found 2 groups, not 3" in said(context)
    assert "spice run --clusters 2" in said(context)


def test_a_single_cluster_stops_semi_and_nothing_is_written(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    write_heads(context, np.zeros(COUNT, np.int32))
    with pytest.raises(UserError) as caught:
        select_reliable(context)
    message = str(caught.value)
    assert "Only one cluster has reliable labels (counts [36, 0, 0]" in message
    assert "consistency > 0.95, confidence > 0.99" in message
    assert "SPICE-Semi has nothing to tell apart" in message
    assert "--set self.learning_rate=0.001" in message
    assert "--run-dir" in message
    assert not context.run.has("reliable")


@pytest.mark.parametrize(
    "options",
    [
        {"semi__enabled": False},
        {"semi__labels_from": "source", "data__labels": "from-folders"},
    ],
    ids=["semi off", "semi on true labels"],
)
def test_a_single_cluster_is_a_warning_where_semi_does_not_learn_from_it(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    context = make_context(tmp_path, **options)
    write_heads(context, np.zeros(COUNT, np.int32))
    select_reliable(context)
    assert "Note: the heads collapsed. Only one cluster has reliable labels" in said(context)
    assert "SPICE-Semi" not in said(context)
    assert "--clusters 1" not in said(context), "a run has at least two"
    np.testing.assert_array_equal(context.load(Reliable).labels, np.zeros(COUNT))


@pytest.mark.parametrize(
    ("options", "unrefined", "advice"),
    [
        ({}, None, "self.learning_rate=0.001"),
        ({"self__learning_rate": 0.05}, None, "self.learning_rate=0.01"),
        (_NEIGHBORS, None, "self.neighbors.learning_rate=0.0002"),
        ({"self__refine_epochs": 2}, truth(), "self.neighbors.learning_rate=0.0002"),
        ({"self__refine_epochs": 2}, np.zeros(COUNT), "self.learning_rate=0.001"),
    ],
)
def test_the_advice_names_the_learning_rate_that_collapsed_the_heads(
    tmp_path: Path, options: dict[str, Any], unrefined: np.ndarray | None, advice: str
) -> None:
    context = make_context(tmp_path, semi__enabled=False, **options)
    write_heads(context, np.zeros(COUNT, np.int32))
    if unrefined is not None:
        with context.run.write("heads", stage="self") as folder:
            np.save(folder / "probabilities.npy", np.eye(3, dtype=np.float32)[[0] * COUNT])
            np.save(folder / "assignments.npy", np.zeros((1, COUNT), np.int32))
            write_json(folder / "selection.json", {"head": 0, "epoch": 0, "loss": 1.0})
            np.save(folder / "unrefined.npy", unrefined)
    select_reliable(context)
    assert f"--set {advice}` with another --run-dir" in said(context)


def test_balance_draws_the_same_again(tmp_path: Path) -> None:
    drawn = []
    for name in ("a", "b"):
        context = make_context(tmp_path / name, reliable__balance="min")
        write_heads(context, truth(), np.where(truth() == 1, 0.5, 0.999))
        select_reliable(context)
        found = context.load(Reliable)
        rows, clusters = found.indices, found.labels
        assert np.bincount(clusters).tolist() == [2, 2, 2]
        drawn.append(rows)
    np.testing.assert_array_equal(drawn[0], drawn[1])


def test_labels_follow_the_sizes_of_clusters_that_may_be_uneven(tmp_path: Path) -> None:
    clusters = np.where(np.arange(COUNT) < 30, 0, 1)
    clusters[COUNT - 1] = 2
    counts = {}
    for sizes in ("even", "uneven"):
        folder = tmp_path / sizes
        folder.mkdir()
        context = make_context(folder, self__sizes=sizes, reliable__min_per_cluster=6)
        write_heads(context, clusters, 0.5)
        shares = uneven_shares(context)
        select_reliable(context)
        counts[sizes] = np.bincount(context.load(Reliable).labels, minlength=3).tolist()
        if sizes == "even":
            assert shares is None
        else:
            assert shares is not None
            np.testing.assert_allclose(shares, np.array([30, 5, 1]) / COUNT)
            assert "fewer than 6 reliable images, for their size," in said(context)
    assert counts == {"even": [6, 5, 1], "uneven": [15, 2, 1]}
