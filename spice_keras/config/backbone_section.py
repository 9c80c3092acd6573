"""The configuration's `backbone`: the encoder."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from spice_keras.config.section import Positive, Section

OWN_BACKBONES = ("resnet18_cifar", "small_resnet")
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
    width: Positive = 64
    """Channels of the first block of a residual network; the paper's ResNet-18 has 64."""
    stem_stride: Literal[1, 2] = 1
    """Of a residual network; 2 quarters the cost, for images above 32 pixels."""

    @property
    def pretrained(self) -> bool:
        """Whether it comes with weights, learned from labelled images as a rule."""
        return self.name not in OWN_BACKBONES
