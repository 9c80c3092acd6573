"""The clustering a run ends in, and the table of items."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from spice_keras.config import load_config
from spice_keras.errors import UserError
from spice_keras.run.context import Context
from spice_keras.run.request import OptionRequest, RunRequest, SourceRequest, prepare_run
from spice_keras.run.results import final_result, write_assignments
from spice_keras.run.store import Names
from spice_keras.stages.reliable import select_reliable
from spice_keras.words.naming import ClusterName
from tests.stages.made_run import COUNT, make_context, truth, write_classifier, write_heads


def test_semi_has_the_last_word(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    write_heads(context, truth())
    select_reliable(context)
    write_classifier(context, (truth() + 1) % 3, 0.9)
    result = final_result(context)
    np.testing.assert_array_equal(result.clusters, (truth() + 1) % 3)
    np.testing.assert_allclose(result.confidence, 0.9)
    assert result.embeddings.shape == (COUNT, 4)


def test_self_has_it_where_semi_is_switched_off(tmp_path: Path) -> None:
    context = make_context(tmp_path, semi__enabled=False)
    write_heads(context, truth(), 0.8)
    select_reliable(context)
    result = final_result(context)
    np.testing.assert_array_equal(result.clusters, truth())
    assert result.embeddings.shape == (COUNT, 5)
    np.testing.assert_allclose(np.linalg.norm(result.embeddings, axis=1), 1.0, rtol=1e-5)


def test_the_table_has_one_row_an_image_in_their_order(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    confidence = np.full(COUNT, 0.999)
    confidence[3] = 0.5
    write_heads(context, truth(), confidence)
    select_reliable(context)
    clusters = truth()
    clusters[7] = (clusters[7] + 1) % 3
    write_classifier(context, clusters, 0.75)
    called = (
        ClusterName("circle"),
        ClusterName(None, reason="No word fits."),
        ClusterName("cross"),
    )
    context.save(Names(called, "drawn", False))
    duplicates = np.full(COUNT, -1)
    duplicates[[4, 6]] = 0
    write_assignments([(context, final_result(context))], [duplicates])
    with (context.run.path / "assignments.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == context.ids
    assert [int(row["cluster"]) for row in rows] == clusters.tolist()
    assert {row["confidence"] for row in rows} == {"0.750000"}
    names = ["circle", "", "cross"]
    assert [row["cluster_name"] for row in rows] == [names[cluster] for cluster in clusters]
    assert [i for i, row in enumerate(rows) if row["reliable"] == "0"] == [3]
    assert [i for i, row in enumerate(rows) if row["agrees_with_neighbors"] == "0"] == [7]
    assert [int(row["second_cluster"]) for row in rows] == [min({0, 1, 2} - {c}) for c in clusters]
    assert {row["second_probability"] for row in rows} == {"0.125000"}
    assert [i for i, row in enumerate(rows) if row["duplicate_group"] == "0"] == [4, 6]
    assert all(0.0 <= float(row["distance"]) < 0.2 for row in rows)
    assert "decision" not in rows[0]


def test_parquet_has_the_same_rows_with_types(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")
    context = make_context(tmp_path, evaluate__table="parquet", semi__enabled=False)
    write_heads(context, truth(), np.linspace(0.4, 0.9, COUNT))
    select_reliable(context)
    duplicates = np.full(COUNT, -1)
    duplicates[[4, 6]] = 0
    result = final_result(context)
    write_assignments([(context, result)], [duplicates])
    table = parquet.read_table(context.run.path / "assignments.parquet")
    with (context.run.path / "assignments.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert table.column_names == list(rows[0])
    assert table["image"].to_pylist() == [row["image"] for row in rows]
    assert str(table.schema.field("reliable").type) == "bool"
    assert table["duplicate_group"].to_pylist() == [0 if d >= 0 else None for d in duplicates]
    np.testing.assert_array_equal(table["confidence"].to_numpy(), result.confidence)
    csv_config = load_config(base=context.config.as_dict(), overrides={"evaluate.table": "csv"})
    write_assignments([(Context(csv_config, context.run), result)], [duplicates])
    assert not (context.run.path / "assignments.parquet").exists()  # it would be an older one


def test_parquet_without_pyarrow_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "rows.npz", embeddings=np.eye(12, 4, dtype=np.float32))
    asked = RunRequest(
        SourceRequest(embeddings="rows.npz"), OptionRequest(clusters=2, table="parquet")
    )
    with pytest.raises(UserError, match="spice-keras\\[parquet\\]"):
        prepare_run(asked, existing=False)
    assert not (tmp_path / "runs").exists()
