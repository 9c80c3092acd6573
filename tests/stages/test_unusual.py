"""duplicates.csv and outliers.csv of a run."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from spice_keras.clustering.outliers import OUTLIER_SCORE
from spice_keras.report.unusual import Unusual
from spice_keras.run.results import final_result
from spice_keras.run.store import Embeddings, Items
from spice_keras.stages.reliable import select_reliable
from spice_keras.stages.unusual import find_unusual, write_unusual
from tests.stages.made_run import COUNT, make_context, truth, write_heads


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_copies_in_a_run_are_found_by_embeddings_and_pixels(tmp_path: Path) -> None:
    context = make_context(tmp_path, reliable__num_neighbors=12)
    found = context.load(Embeddings)
    assert found.features is not None
    features = np.array(found.features)
    features[[3, 6]] = features[0]  # image 6 is another picture with the same embedding
    with context.writing(Items) as folder:
        images = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 3), np.uint8)
        images[3] = images[0]
        np.save(Items.pixels_file(folder), images)
        Items([f"{row:02d}.png" for row in range(COUNT)], []).save(folder)
    context.save(replace(found, features=features))
    unusual = find_unusual(context)
    assert np.flatnonzero(unusual.groups >= 0).tolist() == [0, 3]
    assert unusual.outlier_score == OUTLIER_SCORE
    assert unusual.scores.shape == (COUNT,)


def test_the_tables_are_in_order(tmp_path: Path) -> None:
    context = make_context(tmp_path, semi__enabled=False)
    write_heads(context, truth())
    select_reliable(context)
    groups, scores = np.full(COUNT, -1, np.int32), np.zeros(COUNT)
    groups[[2, 9]], groups[[4, 7, 8]] = 1, 0
    scores[[5, 20]] = 2.6, 9.0
    write_unusual([(context, final_result(context), Unusual(groups, scores, 2.5))])
    table = _rows(context.run.path / "duplicates.csv")
    assert [(row["image"], row["group"]) for row in table] == [
        ("photos/04.png", "0"),
        ("photos/07.png", "0"),
        ("photos/08.png", "0"),
        ("photos/02.png", "1"),
        ("photos/09.png", "1"),
    ]
    assert [row["cluster"] for row in table] == [str(int(row["image"][7:9]) % 3) for row in table]
    assert _rows(context.run.path / "outliers.csv") == [
        {"image": "photos/20.png", "score": "9.000", "cluster": "2"},
        {"image": "photos/05.png", "score": "2.600", "cluster": "2"},
    ]


def test_nothing_found_leaves_headers(tmp_path: Path) -> None:
    context = make_context(tmp_path, semi__enabled=False)
    write_heads(context, truth())
    select_reliable(context)
    none = Unusual(np.full(COUNT, -1, np.int32), np.zeros(COUNT), 2.5)
    write_unusual([(context, final_result(context), none)])
    assert (context.run.path / "duplicates.csv").read_text() == "image,group,cluster\n"
    assert (context.run.path / "outliers.csv").read_text() == "image,score,cluster\n"
