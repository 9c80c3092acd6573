"""The encoder's options: what applies to which network."""

from __future__ import annotations

from typing import Any

import pytest

from spice_keras.config import load_config
from spice_keras.errors import UserError
from spice_keras.options import BACKBONES, BackboneOptions

_FROM_SCRATCH = sorted(name for name, spec in BACKBONES.items() if not spec.pretrained)
_NOT_WIDE = [name for name in _FROM_SCRATCH if not name.startswith("wrn_")]


@pytest.mark.parametrize("name", _FROM_SCRATCH)
def test_every_network_trained_from_scratch_can_be_named(name: str) -> None:
    backbone = load_config(overrides={"semi.backbone": {"name": name}}).semi.backbone
    assert backbone is not None
    assert backbone == BackboneOptions(name=name)
    assert not backbone.pretrained
    assert backbone.width is None


@pytest.mark.parametrize("name", [*_NOT_WIDE, "keras:ResNet50"])
def test_a_first_stride_is_a_wide_networks(name: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(overrides={"semi.backbone": {"name": name, "first_stride": 1}})
    assert str(caught.value).startswith("semi.backbone.first_stride: ")
    assert f"{name} does not take first_stride; wrn_28_2," in str(caught.value)


@pytest.mark.parametrize("stride", [1, 2, None])
def test_a_wide_network_takes_either(stride: int | None) -> None:
    overrides = {"backbone.name": "wrn_37_2", "backbone.first_stride": stride}
    assert load_config(overrides=overrides).backbone.first_stride == stride


def test_a_pretrained_encoder_keeps_its_normalisation() -> None:
    with pytest.raises(UserError, match="keras:ResNet50 does not take bn_momentum"):
        load_config(overrides={"backbone": {"name": "keras:ResNet50", "bn_momentum": 0.9}})


@pytest.mark.parametrize(
    ("option", "value"),
    [("first_stride", 3), ("stem_stride", 0), ("bn_momentum", 1.5), ("width", 0), ("width", 2.0)],
)
def test_values_out_of_range_are_refused(option: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"backbone.{option}: "):
        load_config(overrides={"backbone.name": "wrn_28_2", f"backbone.{option}": value})


@pytest.mark.parametrize("name", ["efficientnet_lite0", "keras:ResNet50", "hub:vit"])
def test_an_encoder_of_another_library_comes_with_weights(name: str) -> None:
    config = load_config(overrides={"backbone.name": name})
    assert config.backbone.pretrained
    assert not config.trains_encoder


@pytest.mark.parametrize("name", ["resnet19", "keras:", "hub:hf:", "efficientnet_lite9"])
def test_an_unknown_name_is_refused_with_the_choices(name: str) -> None:
    with pytest.raises(
        UserError, match=rf"backbone\.name: .*there is no backbone '{name}'"
    ) as caught:
        load_config(overrides={"backbone.name": name})
    assert "cluster_resnet34" in str(caught.value)
    assert "keras:NAME" in str(caught.value)
    assert "register_backbone" in str(caught.value)


def test_sub_batches_are_refused_for_an_encoder_that_cannot_have_them() -> None:
    overrides = {"backbone.name": "efficientnet_lite0", "pretrain.bn_groups": 4}
    with pytest.raises(UserError, match=r"does not take bn_groups.*Set it to 1"):
        load_config(overrides=overrides)
