"""metrics.json: figures against labels where there are labels, and null where there are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spice_keras.run.context import Context
from spice_keras.stages.reliable import select_reliable
from spice_keras.stages.scores import against_labels, score
from tests.stages.made_run import (
    COUNT,
    PER_CLUSTER,
    make_context,
    truth,
    write_classifier,
    write_heads,
)

_AGAINST = {"acc", "balanced_acc", "nmi", "nmi_arithmetic", "ari", "purity"}
_WITHOUT = {"local_consistency", "silhouette", "size_balance", "cluster_sizes", "head_agreement"}
_METHODS = {"self", "semi", "kmeans_embeddings", "kmeans_pixels"}


def _context(path: Path, **options: Any) -> Context:
    context = make_context(path, **options)
    clusters = truth()
    clusters[:4] = 2
    write_heads(context, clusters)
    select_reliable(context)
    if context.config.semi.enabled:
        write_classifier(context, (truth() + 1) % 3)  # right, under other numbers
    return context


def test_every_figure_against_labels_is_null_without_them() -> None:
    assert against_labels(truth(), None) == dict.fromkeys(_AGAINST)


def test_unknown_labels_are_left_out() -> None:
    labels = truth().copy()
    labels[::2] = -1
    wrong = np.where(labels < 0, 0, truth())
    assert against_labels(wrong, labels)["acc"] == 1.0
    found = against_labels(wrong, truth())["acc"]
    assert found is not None
    assert found < 1.0


def test_labels_of_which_none_is_known_are_none() -> None:
    assert against_labels(truth(), np.full(COUNT, -1)) == dict.fromkeys(_AGAINST)


def test_every_method_has_every_figure(tmp_path: Path) -> None:
    metrics = score(_context(tmp_path), truth())
    assert metrics.keys() == _METHODS | {
        "reliable", "num_images", "num_clusters", "skipped_files", "expected_accuracy",
        "least_accuracy",
    }  # fmt: skip
    for method in _METHODS:
        assert metrics[method].keys() >= _AGAINST | _WITHOUT
        assert sum(metrics[method]["cluster_sizes"]) == COUNT
        assert all(type(metrics[method][key]) is float for key in _AGAINST)
    assert metrics["semi"]["acc"] == metrics["semi"]["ari"] == 1.0
    assert metrics["kmeans_embeddings"]["acc"] == 1.0
    assert metrics["self"]["acc"] == pytest.approx((COUNT - 3) / COUNT)
    assert 0.0 < metrics["self"]["head_agreement"] < 1.0
    assert metrics["semi"]["head_agreement"] is None
    assert (metrics["self"]["head"], metrics["self"]["epoch"]) == (1, 4)
    assert metrics["self"]["selection_loss"] == 0.8
    assert metrics["num_images"] == COUNT
    assert metrics["num_clusters"] == 3
    assert metrics["skipped_files"] == 1


def test_labels_change_nothing_but_what_compares_with_them(tmp_path: Path) -> None:
    context = _context(tmp_path)
    with_labels, without = score(context, truth()), score(context, None)
    assert without["reliable"]["acc"] is None
    assert with_labels["reliable"]["acc"] is not None
    with_labels["reliable"]["acc"] = None
    for method in _METHODS:
        assert all(without[method][key] is None for key in _AGAINST)
        with_labels[method] |= dict.fromkeys(_AGAINST)
    assert with_labels == without
    json.dumps(without, allow_nan=False)


def test_the_reliable_labels_are_judged_alone(tmp_path: Path) -> None:
    found = score(_context(tmp_path), truth())["reliable"]
    assert found["share"] == found["count"] / COUNT
    assert sum(found["per_cluster"]) == found["count"] < COUNT
    assert found["acc"] == 1.0


def test_semi_switched_off_is_null(tmp_path: Path) -> None:
    metrics = score(_context(tmp_path, semi__enabled=False), None)
    assert metrics["semi"] is None
    assert metrics["self"]["cluster_sizes"] == [PER_CLUSTER - 2, PER_CLUSTER - 1, PER_CLUSTER + 3]


def test_one_cluster_in_use_has_figures(tmp_path: Path) -> None:
    context = make_context(tmp_path, semi__enabled=False)
    write_heads(context, np.ones(COUNT, np.int32))
    select_reliable(context)
    metrics = score(context, truth())
    own = metrics["self"]
    assert own["acc"] == pytest.approx(1 / 3)
    assert (own["nmi"], own["ari"], own["size_balance"]) == (0.0, 0.0, 0.0)
    assert own["local_consistency"] == 1.0
    assert own["silhouette"] is None
    assert metrics["reliable"]["count"] == COUNT
    json.dumps(metrics, allow_nan=False)
