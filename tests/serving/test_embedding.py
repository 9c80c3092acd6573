"""Images into shards of embeddings: each shard once, by whomever, and the same."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from spice_keras.data.encoded_source import EncodedSource
from spice_keras.data.packing import encoded_source, pack
from spice_keras.data.sources import SourceOptions
from spice_keras.errors import UserError
from spice_keras.serving.embedding import ShardPlan, embed_source
from spice_keras.serving.predict import predict
from spice_keras.shards.embeddings import EmbeddingShards
from spice_keras.shards.folder import read_manifest

_COUNT = 23
_FACTS = {"backbone": "means"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(_COUNT):
        color = (10 * number, 255 - 10 * number, 7)
        Image.new("RGB", (9, 9), color).save(folder / f"{number:02d}.png")
    (folder / "07.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def encoder() -> keras.Model:
    """The mean of each channel: float16 holds it exactly."""
    pixels = keras.Input((8, 8, 3))
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(pixels))


@pytest.fixture
def source(photos: Path) -> EncodedSource:
    return encoded_source("folder", SourceOptions(path=str(photos), image_size=8))


def test_parts_make_what_one_machine_makes(
    source: EncodedSource, encoder: keras.Model, tmp_path: Path
) -> None:
    whole = embed_source(
        source, encoder, tmp_path / "whole", plan=ShardPlan(5, (1, 1)), facts=_FACTS
    )
    assert whole is not None
    assert [shard.rows for shard in whole.shards] == [5, 4, 5, 5, 3]
    for part in ((2, 2), (1, 2)):
        parts = embed_source(
            source, encoder, tmp_path / "parts", plan=ShardPlan(5, part), facts=_FACTS
        )
        assert (parts is None) == (part == (2, 2))
    assert read_manifest(tmp_path / "parts").shards == whole.shards
    ids, rows, _ = EmbeddingShards(tmp_path / "parts").sample(None)
    numbers = [number for number in range(_COUNT) if number != 7]
    assert ids == [f"{number:02d}.png" for number in numbers]
    expected = [(10 * number, 255 - 10 * number, 7) for number in numbers]
    np.testing.assert_array_equal(rows, expected)


def test_what_was_interrupted_goes_on(
    source: EncodedSource, encoder: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, calls = source.read, list[int]()

    def stopping(row: int) -> object:
        calls.append(row)
        if row == 12:
            raise KeyboardInterrupt
        return read(row)

    monkeypatch.setattr(source, "read", stopping)
    plan = ShardPlan(5)
    with pytest.raises(KeyboardInterrupt):
        embed_source(source, encoder, tmp_path / "x", plan=plan, facts=_FACTS)
    calls.clear()
    monkeypatch.setattr(source, "read", lambda row: calls.append(row) or read(row))
    manifest = embed_source(source, encoder, tmp_path / "x", plan=plan, facts=_FACTS)
    assert manifest is not None
    assert manifest.rows == _COUNT - 1
    assert sorted(calls) == list(range(10, _COUNT)), "shards that were there were read again"


def test_another_encoder_does_not_join(
    source: EncodedSource, encoder: keras.Model, tmp_path: Path
) -> None:
    embed_source(source, encoder, tmp_path / "x", plan=ShardPlan(5, (1, 2)), facts=_FACTS)
    with pytest.raises(UserError, match="backbone: means there, other now"):
        embed_source(
            source, encoder, tmp_path / "x", plan=ShardPlan(5, (2, 2)), facts={"backbone": "other"}
        )


class _Largest(tf.Module):
    """The channel with the largest value."""

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, "embeddings")])
    def rows(self, embeddings: tf.Tensor) -> dict[str, tf.Tensor]:
        cluster = tf.argmax(embeddings, axis=1, output_type=tf.int32)
        return {"cluster": cluster, "confidence": tf.reduce_max(embeddings, axis=1) / 255.0}


def test_a_model_of_embeddings_sorts_shards(
    source: EncodedSource, encoder: keras.Model, tmp_path: Path
) -> None:
    embed_source(source, encoder, tmp_path / "x", plan=ShardPlan(5), facts=_FACTS)
    module, model = _Largest(), tmp_path / "model"
    tf.saved_model.save(module, str(model), signatures={"serving_default": module.rows})
    (model / "spice.json").write_text(json.dumps({"num_features": 3}))
    found = predict(model, [tmp_path / "x"])
    numbers = [number for number in range(_COUNT) if number != 7]
    assert found.images == tuple(f"{number:02d}.png" for number in numbers)
    assert found.clusters.tolist() == [int(number <= 12) for number in numbers]


@pytest.mark.parametrize("kind", ["tar", "tfrecord", "txt"])
def test_a_model_of_images_sorts_shards_and_lists(
    photos: Path, source: EncodedSource, tmp_path: Path, kind: str
) -> None:
    class _Green(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "images")])
        def images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
            mean = tf.reduce_mean(tf.cast(images, tf.float32), axis=[1, 2])
            return {"cluster": tf.argmax(mean, axis=1, output_type=tf.int32),
                    "confidence": mean[:, 0] / 255.0}  # fmt: skip

    module, model = _Green(), tmp_path / "model"
    tf.saved_model.save(module, str(model), signatures={"images": module.images})
    facts = {"image_size": 8, "fit": "crop", "max_pixels": 10_000}
    (model / "spice.json").write_text(json.dumps(facts))
    if kind == "txt":
        path = tmp_path / "list.txt"
        path.write_text("\n".join(str(photos / f"{number:02d}.png") for number in range(_COUNT)))
    else:
        pack(source, tmp_path / "packed", kind=kind, rows_per_shard=99)  # type: ignore[arg-type]
        path = tmp_path / "packed" / f"shard-000000.{kind}"
    found = predict(model, [path])
    assert found.clusters.tolist() == [int(n <= 12) for n in range(_COUNT) if n != 7]


def test_a_shard_of_broken_files_stops_it(
    source: EncodedSource, encoder: keras.Model, tmp_path: Path
) -> None:
    plan = ShardPlan(2, (1, 1), 0.2)
    with pytest.raises(UserError, match=r"1 of 2 items gave no image.*07\.png.*--max-skipped"):
        embed_source(source, encoder, tmp_path / "x", plan=plan, facts=_FACTS)
