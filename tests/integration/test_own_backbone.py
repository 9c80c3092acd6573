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
from spice_keras.options import BACKBONES, BackboneOptions
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


@pytest.fixture
def _registered() -> Iterator[None]:
    register_backbone("plain", _plain)
    yield
    del BACKBONES["plain"]


@pytest.mark.usefixtures("_registered")
def test_a_run_on_a_backbone_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_tiny(tmp_path))
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
