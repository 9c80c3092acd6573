"""A backbone of one's own: by specification, by function, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from spice_keras.backbones import build_backbone, register_backbone
from spice_keras.backbones.normalization import FusedBatchNormalization
from spice_keras.errors import UserError
from spice_keras.options import (
    BACKBONES,
    BackboneOptions,
    BuilderSpec,
    ResNetSpec,
    WideResNetSpec,
    missing_feature,
)
from tests.backbones.built import built


@pytest.fixture(autouse=True)
def _the_table_afterwards() -> Iterator[None]:
    before = dict(BACKBONES)
    yield
    BACKBONES.clear()
    BACKBONES.update(before)


def _plain(options: BackboneOptions, *, image_size: int, bn_groups: int, seed: int) -> keras.Model:
    images = keras.Input((image_size, image_size, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(images)
    start = keras.initializers.GlorotUniform(seed)
    x = keras.layers.Conv2D(options.width or 8, 3, kernel_initializer=start)(x)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D(dtype="float32")(x))


def test_a_specification_of_a_residual_network() -> None:
    register_backbone("mine", ResNetSpec(repeats=(1, 2), width=6, bn_momentum=0.8, stem_pool=2))
    model = build_backbone("mine", image_size=16)
    assert model.name == "mine"
    assert model.get_layer("feature_map").output.shape == (None, 5, 5, 12)
    assert model.get_layer("stem_bn").momentum == 0.8
    assert built("mine", 16, width=4, bn_momentum=0.7).output_shape == (None, 8)
    assert missing_feature("mine", "first_stride") is not None
    assert missing_feature("mine", "bn_groups") is None


def test_a_specification_of_a_wide_network() -> None:
    spec = WideResNetSpec(repeats=(1, 1), width=4, first_stride=2, stem_filters=5)
    register_backbone("mine", spec)
    model = build_backbone("mine", image_size=16)
    assert model.get_layer("stem_conv").filters == 5
    assert model.get_layer("feature_map").output.shape == (None, 4, 4, 8)
    assert built("mine", 16, first_stride=1).get_layer("feature_map").output.shape[1] == 8


def test_pixels_are_normalised_as_the_specification_says() -> None:
    register_backbone("mine", ResNetSpec(repeats=(1,), mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25)))
    layer = build_backbone("mine", image_size=1).get_layer("pixel_normalization")
    pixels = layer(np.full((1, 1, 1, 3), 255, np.uint8))
    np.testing.assert_allclose(np.ravel(pixels), [1.0, 1.0, 0.0], atol=1e-6)


def test_a_function_gets_the_options_of_the_run() -> None:
    register_backbone("mine", _plain)
    model = built("mine", 9, width=5, seed=2)
    assert model.output_shape == (None, 5)
    same, other = built("mine", 9, width=5, seed=2), built("mine", 9, width=5, seed=3)
    np.testing.assert_array_equal(model.get_weights()[0], same.get_weights()[0])
    assert (model.get_weights()[0] != other.get_weights()[0]).any()


@pytest.mark.parametrize("feature", ["first_stride", "bn_momentum"])
def test_a_function_says_what_it_reads(feature: Any) -> None:
    value = {"first_stride": 2, "bn_momentum": 0.5}[feature]
    register_backbone("mine", _plain)
    with pytest.raises(ValueError, match=f"mine does not take {feature}"):
        BackboneOptions(name="mine", **{feature: value})
    register_backbone("mine", BuilderSpec(builder=_plain, takes=frozenset({feature})))
    assert getattr(BackboneOptions(name="mine", **{feature: value}), feature) == value


def test_a_function_is_given_sub_batches_only_if_it_reads_them() -> None:
    def split(options: BackboneOptions, *, image_size: int, bn_groups: int, **_: Any) -> Any:
        images = keras.Input((image_size, image_size, 3), dtype="uint8")
        x = FusedBatchNormalization(groups=bn_groups)(keras.layers.Rescaling(1.0)(images))
        return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))

    register_backbone("mine", split)
    with pytest.raises(ValueError, match="mine does not take bn_groups"):
        built("mine", 8, bn_groups=2)
    register_backbone("mine", BuilderSpec(builder=split, takes=frozenset({"bn_groups"})))
    assert built("mine", 8, bn_groups=2).layers[2].groups == 2


def test_a_function_may_come_with_weights() -> None:
    register_backbone("mine", BuilderSpec(builder=_plain, pretrained=True))
    assert BackboneOptions(name="mine").pretrained
    assert build_backbone("mine", image_size=8).output_shape == (None, 8)


def _two_outputs(images: keras.KerasTensor) -> list[keras.KerasTensor]:
    x = keras.layers.Rescaling(1.0)(images)
    return [keras.layers.GlobalAveragePooling2D()(x)] * 2


@pytest.mark.parametrize(
    ("shape", "dtype", "head", "received"),
    [
        ((8, 8, 3), "float32", keras.layers.GlobalAveragePooling2D(), "float32 (None, 8, 8, 3) to"),
        ((9, 9, 3), "uint8", keras.layers.Flatten(), "uint8 (None, 9, 9, 3) to"),
        ((8, 8, 3), "uint8", keras.layers.Rescaling(1.0), "to float32 (None, 8, 8, 3)"),
        ((8, 8, 3), "uint8", keras.layers.Flatten(dtype="uint8"), "to uint8 (None, 192)"),
        ((8, 8, 3), "uint8", _two_outputs, "to float32 (None, 3), float32 (None, 3)"),
    ],
)
def test_a_network_that_is_not_an_encoder(
    shape: tuple[int, ...], dtype: str, head: Any, received: str
) -> None:
    images = keras.Input(shape, dtype=dtype)
    register_backbone("mine", lambda options, **_: keras.Model(images, head(images)))
    with pytest.raises(UserError) as caught:
        build_backbone("mine", image_size=8)
    assert "from uint8 [B, 8, 8, 3] to float32 [B, D]" in str(caught.value)
    assert received in str(caught.value)


@pytest.mark.parametrize("network", [None, keras.Sequential([keras.layers.Flatten()])])
def test_a_function_that_returns_no_functional_model(network: Any) -> None:
    register_backbone("mine", lambda options, **_: network)
    with pytest.raises(UserError, match=f"mine must return .* Received: {type(network).__name__}"):
        build_backbone("mine", image_size=8)


@pytest.mark.parametrize("name", ["resnet34", "efficientnet_lite0", "keras:mine", "", "a b", "-a"])
def test_names_that_are_refused(name: str) -> None:
    before = dict(BACKBONES)
    with pytest.raises(ValueError, match=rf"`name` must .* Received: name='{name}'"):
        register_backbone(name, _plain)
    assert before == BACKBONES


def test_what_is_neither_a_specification_nor_a_function() -> None:
    with pytest.raises(TypeError, match="Received: str"):
        register_backbone("mine", "resnet34")  # type: ignore[arg-type]


def test_a_name_of_ones_own_can_be_registered_again() -> None:
    register_backbone("mine", ResNetSpec(repeats=(1,), width=4))
    register_backbone("mine", ResNetSpec(repeats=(1,), width=5))
    assert build_backbone("mine", image_size=8).output_shape == (None, 5)


@pytest.mark.parametrize(
    "wrong",
    [{"repeats": ()}, {"repeats": (1, 0)}, {"repeats": (1,), "std": (1.0, 1.0, 0.0)}],
)
def test_specifications_out_of_range(wrong: dict[str, Any]) -> None:
    for family in (ResNetSpec, WideResNetSpec):
        with pytest.raises(ValueError, match=list(wrong)[-1]):
            family(**wrong)
