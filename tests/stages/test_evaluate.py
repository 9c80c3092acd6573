"""Evaluation: which labels it reads, and what the report is given."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spice_keras.errors import UserError
from spice_keras.run.context import Context
from spice_keras.run.store import Evaluation
from spice_keras.stages.evaluate import evaluate
from spice_keras.stages.labels import read_labels
from spice_keras.stages.reliable import select_reliable
from tests.stages.made_run import (
    COUNT,
    PER_CLUSTER,
    make_context,
    truth,
    write_heads,
    write_network,
)


def _finished(path: Path, **options: Any) -> Context:
    small = {"backbone__name": "small_resnet", "backbone__width": 2, "semi__init": "scratch"}
    context = make_context(path, **{"evaluate__map_method": "pca", **small, **options})
    write_heads(context, truth())
    select_reliable(context)
    write_network(context, truth())
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


def test_evaluation_leaves_figures_table_and_report(tmp_path: Path) -> None:
    context = _finished(tmp_path, **_arrays(tmp_path, labels=truth()))
    evaluate(context)
    metrics = json.loads((context.run.path / "metrics.json").read_text())
    assert metrics == context.load(Evaluation).metrics
    assert metrics["semi"]["acc"] == 1.0
    assert len((context.run.path / "assignments.csv").read_text().splitlines()) == COUNT + 1
    report = (context.run.path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", report)
    assert "photos/00.png" in report
    names = {path.name for path in (context.run.path / "figures").iterdir()}
    assert {"confusion.png", "confusion.svg", "prototypes.png", "reliable_map.png"} <= names
    assert 'id="prototypes"' in report


def test_without_labels_no_figure_pretends_to_have_them(tmp_path: Path) -> None:
    context = _finished(tmp_path)
    (context.run.path / "figures").mkdir()
    (context.run.path / "figures" / "confusion.png").write_text("of an evaluation with labels")
    evaluate(context)
    metrics = context.load(Evaluation).metrics
    assert metrics["semi"]["acc"] is None
    assert metrics["semi"]["cluster_sizes"] == [PER_CLUSTER] * 3
    assert not list((context.run.path / "figures").glob("confusion*"))


def test_what_was_not_evaluated_has_no_figures(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="spice eval --run-dir"):
        make_context(tmp_path).load(Evaluation)
