"""The encoder's options: what applies to which network."""

from __future__ import annotations

from typing import Any

import pytest

from spice_keras.config import load_config
from spice_keras.config.schema import OWN_BACKBONES, WIDE_BACKBONES, BackboneConfig
from spice_keras.errors import UserError


@pytest.mark.parametrize("name", OWN_BACKBONES)
def test_every_network_trained_here_can_be_named(name: str) -> None:
    backbone = load_config(overrides={"semi.backbone": {"name": name}}).semi.backbone
    assert backbone is not None
    assert backbone == BackboneConfig(name=name)
    assert not backbone.pretrained
    assert backbone.width is None


@pytest.mark.parametrize("name", sorted({*OWN_BACKBONES, "keras:ResNet50"} - {*WIDE_BACKBONES}))
def test_a_first_stride_is_a_wide_networks(name: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(overrides={"semi.backbone": {"name": name, "first_stride": 1}})
    assert str(caught.value).startswith("semi.backbone.first_stride: ")
    assert f"{name} has no first group" in str(caught.value)
    assert "wrn_37_2" in str(caught.value)


@pytest.mark.parametrize("stride", [1, 2, None])
def test_a_wide_network_takes_either(stride: int | None) -> None:
    overrides = {"backbone.name": "wrn_37_2", "backbone.first_stride": stride}
    assert load_config(overrides=overrides).backbone.first_stride == stride


def test_a_pretrained_encoder_keeps_its_normalisation() -> None:
    with pytest.raises(UserError, match="keras:ResNet50 brings its own batch normalisation"):
        load_config(overrides={"backbone": {"name": "keras:ResNet50", "bn_momentum": 0.9}})


@pytest.mark.parametrize(
    ("option", "value"),
    [("first_stride", 3), ("stem_stride", 0), ("bn_momentum", 1.5), ("width", 0), ("width", 2.0)],
)
def test_values_out_of_range_are_refused(option: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"backbone.{option}: "):
        load_config(overrides={"backbone.name": "wrn_28_2", f"backbone.{option}": value})
