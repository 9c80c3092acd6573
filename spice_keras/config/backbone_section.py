"""The configuration's `backbone`: the encoder."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, ValidationInfo, field_validator

from spice_keras.config.section import Positive, Section, Share

RESIDUAL_BACKBONES = (
    "resnet18_cifar",
    "resnet18_stl",
    "resnet34",
    "cluster_resnet34",
    "small_resnet",
)
WIDE_BACKBONES = ("wrn_28_2", "wrn_28_8", "wrn_37_2")
OWN_BACKBONES = (*RESIDUAL_BACKBONES, *WIDE_BACKBONES)
PRETRAINED_BACKBONES = ("efficientnet_lite0", "keras:", "hub:")


def _known_backbone(name: str) -> str:
    prefixed = name.startswith(("keras:", "hub:")) and not name.endswith(":")
    if name not in (*OWN_BACKBONES, "efficientnet_lite0") and not prefixed:
        raise ValueError(
            f"a backbone is one of {', '.join(OWN_BACKBONES)} (trained here) or "
            "efficientnet_lite0, keras:NAME (of keras.applications), hub:PRESET (of KerasHub), "
            "which come with weights"
        )
    return name


class BackboneConfig(Section):
    """The encoder."""

    name: Annotated[str, AfterValidator(_known_backbone)] = "resnet18_cifar"
    width: Positive | None = None
    """Filters of the first stage of a network trained here, doubled at each further one. null: as
    published, which is 64; 32 for small_resnet, wrn_28_2 and wrn_37_2, 128 for wrn_28_8."""
    stem_stride: Literal[1, 2] = 1
    """Factor on the stride of the first convolution of a network trained here; 2 quarters the cost,
    for images larger than it was made for."""
    first_stride: Literal[1, 2] | None = None
    """Stride of the first group of a wide network. null: as released, 2 in wrn_37_2 and 1 in the
    others."""
    bn_momentum: Share | None = None
    """Share of batch normalisation's moving statistics kept at each step by a network trained here.
    null: as published, .999 in a wide network, which begins as a shorter average, and .9 in the
    others."""

    @field_validator("first_stride")
    @classmethod
    def _only_of_a_wide_network(cls, value: int | None, info: ValidationInfo) -> int | None:
        name = info.data.get("name")
        if value is not None and name is not None and name not in WIDE_BACKBONES:
            raise ValueError(
                f"{name} has no first group with a stride of its own, only "
                f"{', '.join(WIDE_BACKBONES)} have; see stem_stride"
            )
        return value

    @field_validator("bn_momentum")
    @classmethod
    def _only_of_a_network_trained_here(
        cls, value: float | None, info: ValidationInfo
    ) -> float | None:
        name = info.data.get("name")
        if value is not None and name is not None and name not in OWN_BACKBONES:
            raise ValueError(f"{name} brings its own batch normalisation; set it to null")
        return value

    @property
    def pretrained(self) -> bool:
        """Whether it comes with weights, learned from labelled images as a rule."""
        return self.name not in OWN_BACKBONES
