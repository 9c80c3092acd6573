"""Evaluation: which labels it reads, and what the report is given."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spice_keras.errors import UserError
from spice_keras.stages.context import Context
from spice_keras.stages.evaluate import (
    embedding_map,
    evaluate,
    least_certain_images,
    prototype_images,
    read_labels,
    read_metrics,
)
from spice_keras.stages.reliable import select_reliable
from spice_keras.stages.results import FinalResult
from tests.stages.made_run import (
    COUNT,
    PER_CLUSTER,
    make_context,
    truth,
    write_classifier,
    write_heads,
)


def _finished(path: Path, **options: Any) -> Context:
    context = make_context(path, **{"evaluate__map_method": "pca", **options})
    write_heads(context, truth())
    select_reliable(context)
    write_classifier(context, truth())
    return context


def _arrays(path: Path, **arrays: Any) -> dict[str, Any]:
    ids = np.array([f"photos/{row:02d}.png" for row in range(COUNT)])
    images = np.zeros((COUNT, 4, 4), np.uint8)
    np.savez(path / "x.npz", images=images, ids=ids, **arrays)
    return {"data__source": "arrays", "data__path": str(path / "x.npz")}


def test_a_folder_has_labels_only_where_they_are_asked_for(tmp_path: Path) -> None:
    assert read_labels(make_context(tmp_path / "a")) is None
    labels = read_labels(make_context(tmp_path / "b", data__labels="from-folders"))
    assert labels is not None
    assert labels.class_names == ("photos",)
    assert read_labels(make_context(tmp_path / "c", data__labels="none")) is None


def test_an_array_file_has_those_it_holds(tmp_path: Path) -> None:
    options = _arrays(tmp_path)
    assert read_labels(make_context(tmp_path / "a", **options)) is None
    options = _arrays(tmp_path, labels=truth()[::-1])
    labels = read_labels(make_context(tmp_path / "b", **options))
    assert labels is not None
    np.testing.assert_array_equal(labels.values, truth()[::-1])
    assert read_labels(make_context(tmp_path / "c", **options, data__labels="none")) is None


def test_labels_that_do_not_match_the_images_are_refused(tmp_path: Path) -> None:
    options = _arrays(tmp_path, labels=truth()[:-1])
    with pytest.raises(UserError, match="labels"):
        read_labels(make_context(tmp_path / "a", **options))


def _result() -> FinalResult:
    """Two clusters of three; the third member of each lies apart from the sure ones."""
    embeddings = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0], [-0.6, -0.8], [0, -1]], np.float32)
    first = np.array([0.99, 0.9, 0.8, 0.01, 0.2, 0.3], np.float32)
    probabilities = np.stack([first, 1 - first, np.zeros(6, np.float32)], axis=1)
    flags = np.ones(6, bool)
    return FinalResult(probabilities, embeddings, flags, flags)


def test_prototypes_are_the_members_nearest_to_the_sure_ones(tmp_path: Path) -> None:
    """Three clusters of six images: one confident image makes each prototype."""
    ranked = prototype_images(make_context(tmp_path), _result())
    assert {cluster: rows.tolist() for cluster, rows in ranked.items()} == {
        0: [0, 1, 2],
        1: [3, 4, 5],
    }


def test_the_least_certain_come_first() -> None:
    found = least_certain_images(_result(), 2)
    assert {cluster: rows.tolist() for cluster, rows in found.items()} == {0: [2, 1], 1: [5, 4]}


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_the_map_is_a_seeded_sample(tmp_path: Path, method: str) -> None:
    options = {"evaluate__map_method": method, "evaluate__map_samples": 20}
    context = make_context(tmp_path, **options)
    embeddings = np.random.default_rng(0).normal(size=(COUNT, 5)).astype(np.float32)
    rows, points = embedding_map(context, embeddings)
    assert points.shape == (20, 2)
    assert len(set(rows.tolist())) == 20
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(embedding_map(context, embeddings)[1], points)


def test_evaluation_leaves_figures_table_and_report(tmp_path: Path) -> None:
    context = _finished(tmp_path, **_arrays(tmp_path, labels=truth()))
    evaluate(context)
    metrics = json.loads((context.run.path / "metrics.json").read_text())
    assert metrics == read_metrics(context)
    assert metrics["semi"]["acc"] == 1.0
    assert len((context.run.path / "assignments.csv").read_text().splitlines()) == COUNT + 1
    report = (context.run.path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", report)
    assert "photos/00.png" in report
    assert list((context.run.path / "figures").glob("confusion*"))


def test_without_labels_no_figure_pretends_to_have_them(tmp_path: Path) -> None:
    context = _finished(tmp_path)
    (context.run.path / "figures").mkdir()
    (context.run.path / "figures" / "confusion.png").write_text("of an evaluation with labels")
    evaluate(context)
    metrics = read_metrics(context)
    assert metrics["semi"]["acc"] is None
    assert metrics["semi"]["cluster_sizes"] == [PER_CLUSTER] * 3
    assert not list((context.run.path / "figures").glob("confusion*"))


def test_what_was_not_evaluated_has_no_figures(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="spice eval --run-dir"):
        read_metrics(make_context(tmp_path))
