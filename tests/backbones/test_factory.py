"""Encoders by name."""

from __future__ import annotations

import pytest

from spice_keras.backbones.factory import BACKBONES, build_backbone


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_builds_each_backbone(name: str) -> None:
    model = build_backbone(name, image_size=8, width=2, bn_groups=2, seed=3)
    assert model.name == name
    assert model.input_shape == (None, 8, 8, 3)
    assert model.input.dtype == "uint8"
    assert model.output_shape[0] is None


def test_names_the_choices_when_it_does_not_know_one() -> None:
    with pytest.raises(ValueError, match=r"resnet18_cifar, small_resnet.*name=vgg"):
        build_backbone("vgg", image_size=8, width=2)


def test_builds_a_pretrained_encoder_without_its_weights() -> None:
    model = build_backbone("efficientnet_lite0", image_size=32, width=2, seed=3)
    assert model.name == "efficientnet_lite0"
    assert model.output_shape == (None, 1280)
