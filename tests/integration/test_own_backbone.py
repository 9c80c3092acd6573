"""A registered backbone through a whole run, from pretraining to the SavedModel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from spice_keras import load_config, run_all
from spice_keras.backbones import register_backbone
from spice_keras.errors import UserError
from spice_keras.options import BACKBONES, BackboneOptions
from tests.integration.conftest import unverified
from tests.integration.tiny import COUNT, write_tiny

_OPTIONS = {
    "backbone.name": "plain",
    "backbone.width": 6,
    "pretrain.epochs": 1,
    "self.epochs": 1,
    "self.refine_epochs": 0,
    "semi.steps": 2,
    "semi.steps_per_epoch": 2,
}


def _plain(options: BackboneOptions, *, image_size: int, bn_groups: int, seed: int) -> keras.Model:
    """Two convolutions of Keras's own layers, batch normalisation between them."""
    images = keras.Input((image_size, image_size, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    start = keras.initializers.HeNormal(seed)
    x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False, kernel_initializer=start)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU()(x)
    start = keras.initializers.HeNormal(seed + 1)
    x = keras.layers.Conv2D(
        options.width, 3, activation="relu", kernel_initializer=start, name="feature_map"
    )(x)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D(dtype="float32")(x))


@pytest.fixture(autouse=True)
def _backbones_are_put_back() -> Iterator[None]:
    before = dict(BACKBONES)
    yield
    BACKBONES.clear()
    BACKBONES.update(before)


def test_a_run_on_a_backbone_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_tiny(tmp_path))
    register_backbone("plain", _plain)
    config = load_config("tiny.yaml", overrides=_OPTIONS)
    result = run_all(config, "run")
    artifacts = tmp_path / "run" / "artifacts"
    for name in ("encoder", "classifier"):
        facts = json.loads((artifacts / name / "network.json").read_text("utf-8"))
        assert facts["backbone"]["name"] == "plain"
        assert facts["backbone"]["width"] == 6
    embedding = np.load(artifacts / "classifier" / "embedding.npy")
    assert embedding.shape == (COUNT, 6)
    assert (result.saved_model / "saved_model.pb").is_file()


def _trained(dtype: str) -> keras.Model:
    """An encoder as people have them: Keras layers, pooled, of float or uint8 pixels."""
    images = keras.Input((16, 16, 3), dtype=dtype)
    x = keras.layers.Rescaling(1 / 255.0)(images)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_run_takes_somebodys_own_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.chdir(write_tiny(tmp_path))
    if dtype == "float32":  # the other run's export is checked
        unverified(monkeypatch)
    keras.utils.set_random_seed(0)
    encoder = _trained(dtype)
    config = load_config(
        "tiny.yaml",
        overrides={
            "self.epochs": 1,
            "self.refine_epochs": 0,
            "semi.enabled": False,
            "data.image_size": 32,
        },
    )
    result = run_all(config, "run", encoder=encoder)
    features = np.load(tmp_path / "run" / "artifacts" / "embeddings" / "features.npy")
    images = np.load("shapes.npz")["images"].astype(dtype)
    np.testing.assert_allclose(features, encoder.predict(images, verbose=0), atol=2e-2)
    assert (result.saved_model / "saved_model.pb").is_file()
    again = run_all(config, "run", encoder=encoder, resume=True)
    assert again.metrics == result.metrics


def test_an_encoder_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    config = load_config(overrides={"semi.enabled": False, "pretrain.queue_size": None})
    maps = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3)])
    with pytest.raises(ValueError, match="GlobalAveragePooling2D"):
        run_all(config, tmp_path / "run", encoder=maps)
    with pytest.raises(UserError, match=r"semi\.init=pretrained"):
        run_all(load_config("digits", overrides={"semi.init": "scratch"}), tmp_path / "run",
                encoder=_trained("uint8"))  # fmt: skip
    assert not (tmp_path / "run").exists()
