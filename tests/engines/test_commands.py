"""`--engine` from the command line: what it makes, and what cannot work."""

from __future__ import annotations

import importlib.util
import json
import socket
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from spice_keras.engines.ray_data import write_shards_with_ray
from spice_keras.engines.recipes import EmbedRecipe
from spice_keras.errors import UserError
from spice_keras.run.encoder_choice import EncoderChoice
from spice_keras.shards.embeddings import write_embeddings
from spice_keras.shards.folder import ShardFolder, read_manifest
from spice_keras.shards.writing import Advance, ShardWriter
from tests.integration.tiny import invoke

_COUNT = 5


class _Bright(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "images")])
    def images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        mean = tf.reduce_mean(tf.cast(images, tf.float32), axis=[1, 2, 3]) / 255.0
        return {"cluster": tf.cast(mean > 0.5, tf.int32), "confidence": mean}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model`, `photos` and `shards` of embeddings."""
    place = tmp_path_factory.mktemp("place")
    module, model = _Bright(), place / "model"
    tf.saved_model.save(module, str(model), signatures={"images": module.images})
    facts = {"num_clusters": 2, "image_size": 8, "fit": "crop", "max_pixels": 10_000}
    (model / "spice.json").write_text(json.dumps(facts))
    (place / "photos").mkdir()
    for number in range(_COUNT):
        Image.new("RGB", (9, 9), (50 * number,) * 3).save(place / "photos" / f"{number}.png")
    shards = ShardFolder(place / "shards", {"kind": "embeddings", "dim": 3}, 1)
    write_embeddings(shards, 0, ["a", "b"], np.eye(3)[:2])
    shards.finish()
    return place


@pytest.fixture
def here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("model", "photos", "shards"):
        (tmp_path / name).symlink_to(place / name)
    return tmp_path


def test_a_folder_of_tables_in_parts(here: Path) -> None:
    asked = ("predict", "model", "photos", "out", "--engine", "local", "--rows", 2)
    first = invoke(*asked, "--format", "csv", "--part", "1/2")
    assert first.exit_code == 0, first.output
    assert "the shards of this part are written" in first.stderr
    assert not (here / "out" / "manifest.json").exists()
    second = invoke(*asked, "--format", "csv")
    assert second.exit_code == 0, second.output
    assert f"predict: {_COUNT} items sorted in 3 shards" in second.stderr
    assert read_manifest(here / "out").rows == _COUNT
    assert (here / "out" / "shard-000002.csv").read_text().splitlines()[1].startswith("4.png,1,")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("photos", "--engine", "local"), "one SOURCE and a folder OUT"),
        (("photos", "out", "--engine", "local", "--output", "x.csv"), "no --output"),
        (("photos", "--rows", "3"), "--rows says how tables are written in shards"),
        (("photos", "--max-skipped", "0.5"), "--max-skipped says how"),
        (("photos", "out", "--engine", "local", "--workers", "2"), "Add --engine ray"),
        (("photos", "out", "--engine", "ray", "--part", "1/2"), "Leave one of them out"),
        (("shards", "out", "--engine", "local"), "takes images"),
        (("shards", "out", "--engine", "local", "--rows", "3"), "a table for each shard"),
        (("gone", "out", "--engine", "local"), "there is no such file or folder"),
    ],
)
def test_what_cannot_work_is_refused(here: Path, arguments: tuple[str, ...], message: str) -> None:
    said = invoke("predict", "model", *arguments)
    assert said.exit_code == 2, said.output
    assert message in " ".join(said.output.split())
    assert "Traceback" not in said.output
    assert not (here / "out").exists()


def test_without_ray_the_extra_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ray" else find(name)
    )
    for command in (("embed",), ("predict", "model")):
        said = invoke(*command, "photos", "out", "--engine", "ray")
        assert said.exit_code == 2, said.output
        assert "pip install 'spice-keras[ray]', or use one process: --engine local" in said.output


class _Nothing(ShardWriter):
    def write(self, number: int, advance: Advance) -> None:
        raise AssertionError("there is no cluster")

    def check_source(self) -> None:
        raise AssertionError("there is no cluster")


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_a_cluster_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = address.format(free.getsockname()[1])
    monkeypatch.setenv("RAY_ADDRESS", address)
    recipe = EmbedRecipe("folder", tmp_path, EncoderChoice(), tmp_path / "out")
    writer = _Nothing(ShardFolder(tmp_path / "out", {}, 1))
    with pytest.raises(UserError, match=f"No Ray cluster answers at RAY_ADDRESS={address}"):
        write_shards_with_ray(recipe, writer)
