"""A folder of tables holds what one table would, each shard written once."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from spice_keras.errors import UserError
from spice_keras.serving.predict import Predictor, predict
from spice_keras.serving.predicted_shards import PredictionWriter, Tables, prediction_writer
from spice_keras.shards.embeddings import write_embeddings
from spice_keras.shards.folder import ShardFolder, read_manifest
from spice_keras.shards.writing import ShardPlan, write_shards

_CSV, _COUNT = Tables("csv"), 11


class _Bright(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "images")])
    def images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        mean = tf.reduce_mean(tf.cast(images, tf.float32), axis=[1, 2, 3]) / 255.0
        return {"cluster": tf.cast(mean > 0.5, tf.int32), "confidence": mean}


class _Largest(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, "embeddings")])
    def rows(self, embeddings: tf.Tensor) -> dict[str, tf.Tensor]:
        cluster = tf.argmax(embeddings, axis=1, output_type=tf.int32)
        return {"cluster": cluster, "confidence": tf.reduce_max(embeddings, axis=1)}


@pytest.fixture(scope="module")
def of_images(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    module, model = _Bright(), tmp_path_factory.mktemp("model") / "1"
    tf.saved_model.save(module, str(model), signatures={"images": module.images})
    facts = {"num_clusters": 2, "image_size": 8, "fit": "crop", "max_pixels": 10_000}
    (model / "spice.json").write_text(json.dumps(facts))
    return Predictor(model)


@pytest.fixture(scope="module")
def of_embeddings(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    module, model = _Largest(), tmp_path_factory.mktemp("model") / "1"
    tf.saved_model.save(module, str(model), signatures={"serving_default": module.rows})
    (model / "spice.json").write_text(json.dumps({"num_clusters": 3, "num_features": 3}))
    return Predictor(model)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey images, in three shards of four, four and three; the last shard has no image."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(_COUNT):
        path = folder / f"{number:02d}.png"
        if number < 8 and number != 2:
            Image.new("RGB", (9, 9), (20 * number,) * 3).save(path)
        else:
            path.write_bytes(b"no image")
    return folder


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = ShardFolder(tmp_path / "shards", {"kind": "embeddings", "dim": 3}, 3)
    for number, count in enumerate((2, 0, 1)):
        ids = [f"{number}/{row}" for row in range(count)]
        write_embeddings(folder, number, ids, np.eye(3)[[number] * count])
    folder.finish()
    return tmp_path / "shards"


def _of_photos(
    model: Predictor, photos: Path, out: Path, tables: Tables = _CSV, most: float = 1.0
) -> PredictionWriter:
    plan = ShardPlan(4, max_skipped_share=most)
    return prediction_writer(model, ("folder", photos), out, tables=tables, plan=plan)


def _rows(out: Path) -> list[list[str]]:
    found = []
    for path in sorted(out.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        assert header == ["image", "cluster", "confidence", "name"]
        found += rows
    return found


def test_shards_hold_what_one_table_holds(
    of_images: Predictor, photos: Path, tmp_path: Path
) -> None:
    manifest = write_shards(_of_photos(of_images, photos, tmp_path / "out"))
    assert manifest is not None
    assert [shard.rows for shard in manifest.shards] == [3, 4, 0]
    assert [shard.facts["skipped"] for shard in manifest.shards] == [1, 0, 3]
    one = predict(of_images.model, [photos])
    expected = [list(map(str, row)) for row in one.rows()]
    for row in expected:
        row[0] = row[0].removeprefix(f"{photos}/")
    assert _rows(tmp_path / "out") == expected
    skipped = json.loads((tmp_path / "out" / "shard-000000.skipped.json").read_text())
    assert [name for name, _ in skipped] == ["02.png"]


def test_parquet_holds_the_same(of_images: Predictor, photos: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")
    write_shards(_of_photos(of_images, photos, tmp_path / "out", Tables()))
    tables = [parquet.read_table(path) for path in sorted((tmp_path / "out").glob("*.parquet"))]
    assert [len(table) for table in tables] == [3, 4, 0]
    assert tables[0].schema.names == ["image", "cluster", "confidence", "name"]
    assert all(table.schema == tables[0].schema for table in tables), "one of no rows included"
    clusters = [c for table in tables for c in table.column("cluster").to_pylist()]
    assert clusters == predict(of_images.model, [photos]).clusters.tolist()


def test_another_model_or_other_columns_do_not_join(
    of_images: Predictor, of_embeddings: Predictor, photos: Path, shards: Path, tmp_path: Path
) -> None:
    _of_photos(of_images, photos, tmp_path / "out")
    with pytest.raises(UserError, match=r"made otherwise \(kind: predictions, csv there"):
        _of_photos(of_images, photos, tmp_path / "out", Tables("parquet"))
    with pytest.raises(UserError, match=r"does not give second_choice"):
        _of_photos(of_images, photos, tmp_path / "other", Tables("csv", second=True))
    assert not (tmp_path / "other").exists()
    plan = ShardPlan()
    with pytest.raises(UserError, match="takes images"):
        prediction_writer(of_images, ("embeddings", shards), tmp_path / "x", tables=_CSV, plan=plan)
    with pytest.raises(UserError, match="takes folders of embeddings"):
        prediction_writer(of_embeddings, ("folder", photos), tmp_path / "x", tables=_CSV, plan=plan)


def test_a_source_that_changes_while_it_is_read_is_told(
    of_images: Predictor, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "in" / "a.png")
    writer = _of_photos(of_images, tmp_path / "in", tmp_path / "out")
    Image.new("RGB", (9, 9), (1, 2, 3)).save(tmp_path / "in" / "a.png")
    with pytest.raises(UserError, match=r"changed while it was read: .* another folder"):
        write_shards(writer)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_too_many_bad_files_stop_it(of_images: Predictor, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 of 4 items gave no image"):
        write_shards(_of_photos(of_images, photos, tmp_path / "out", most=0.2))


def test_embeddings_have_a_table_for_each_shard(
    of_embeddings: Predictor, shards: Path, tmp_path: Path
) -> None:
    source = ("embeddings", shards)
    writer = prediction_writer(
        of_embeddings, source, tmp_path / "out", tables=_CSV, plan=ShardPlan()
    )
    manifest = write_shards(writer)
    assert manifest is not None
    assert [shard.rows for shard in manifest.shards] == [2, 0, 1]
    assert [row[:2] for row in _rows(tmp_path / "out")] == [
        ["0/0", "0"],
        ["0/1", "0"],
        ["2/0", "2"],
    ]


def test_embeddings_whose_manifest_changes_are_told(
    of_embeddings: Predictor, shards: Path, tmp_path: Path
) -> None:
    writer = prediction_writer(
        of_embeddings, ("embeddings", shards), tmp_path / "out", tables=_CSV, plan=ShardPlan()
    )
    folder = ShardFolder(shards, read_manifest(shards).facts, 3)
    folder.forget(2)
    write_embeddings(folder, 2, ["2/0", "2/1"], np.eye(3)[:2])
    folder.finish()
    with pytest.raises(UserError, match=r"shard-000002.*has \d+ bytes|changed while it was read"):
        write_shards(writer)
    assert not (tmp_path / "out" / "manifest.json").exists()
