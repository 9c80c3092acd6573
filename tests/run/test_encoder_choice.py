"""The encoder that images are embedded with by the thousand."""

from __future__ import annotations

import hashlib

import keras
import numpy as np
import pytest

from spice_keras.backbones.normalization import FusedBatchNormalization
from spice_keras.config import load_config
from spice_keras.options import BACKBONES, BackboneOptions, BuilderSpec
from spice_keras.run import encoder_choice
from spice_keras.run.encoder_choice import EncoderChoice
from spice_keras.run.networks import build_initial_encoder

_SIDE = 64


def test_it_is_folded_and_known_by_the_weights_it_came_with() -> None:
    config = load_config("pretrained", overrides={"data.source": "folder", "data.path": "."})
    plain = build_initial_encoder(config.backbone, image_size=_SIDE, seed=config.seed)
    encoder, facts = EncoderChoice(size=_SIDE).build()
    normalizations = (FusedBatchNormalization, keras.layers.BatchNormalization)
    assert any(isinstance(layer, normalizations) for layer in plain.layers)
    assert not any(isinstance(layer, normalizations) for layer in encoder.layers)
    images = np.random.default_rng(0).integers(0, 256, (3, _SIDE, _SIDE, 3), np.uint8)
    expected = plain.predict(images, verbose=0)
    np.testing.assert_allclose(encoder.predict(images, verbose=0), expected, rtol=1e-3, atol=1e-3)
    weights = hashlib.sha256(b"".join(one.tobytes() for one in plain.get_weights()))
    assert facts == {
        "backbone": "efficientnet_lite0",
        "image_size": _SIDE,
        "fit": config.data.fit,
        "weights": weights.hexdigest(),
    }


@pytest.mark.parametrize(
    ("backbone", "size", "side"),
    [("efficientnet_lite1", None, 240), ("efficientnet_lite1", 96, 96), ("small_net", None, 224)],
)
def test_images_have_the_side_of_the_weights(
    backbone: str, size: int | None, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[int] = []

    def initial(options: BackboneOptions, *, image_size: int, seed: int) -> keras.Model:
        built.append(image_size)
        return keras.Sequential([keras.Input((image_size, image_size, 3)), keras.layers.Flatten()])

    monkeypatch.setattr(encoder_choice, "build_initial_encoder", initial)
    monkeypatch.setitem(BACKBONES, "small_net", BuilderSpec(builder=initial, pretrained=True))
    _, facts = EncoderChoice(backbone=backbone, size=size).build()
    assert built == [facts["image_size"]] == [side]
