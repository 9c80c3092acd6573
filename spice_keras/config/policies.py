"""Configuration of the augmentation policies: one typed model for each.

The fields and defaults equal the arguments of the builders in `augment/policies.py` (a test
holds them together), so that a wrong name or value is refused before TensorFlow is imported.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Strength = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]


class _Policy(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class NonePolicy(_Policy):
    """The image as it is."""

    policy: Literal["none"] = "none"


class WeakPolicy(_Policy):
    """Flip and shift."""

    policy: Literal["weak"] = "weak"
    flip: bool = True
    shift: Strength = 0.125


class MocoPolicy(_Policy):
    """A view of MoCo v2."""

    policy: Literal["moco"] = "moco"
    min_scale: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    max_scale: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    brightness: Strength = 0.4
    contrast: Strength = 0.4
    saturation: Strength = 0.4
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.1
    jitter_probability: Probability = 0.8
    grayscale_probability: Probability = 0.2
    blur_probability: Probability = 0.5
    blur_max_sigma: Annotated[float, Field(ge=0.1, le=10.0)] = 2.0
    flip: bool = True


class SpicePolicy(_Policy):
    """The paper's strong policy: operations of the fourteen, then Cutout."""

    policy: Literal["spice"] = "spice"
    num_ops: Annotated[int, Field(ge=0, le=14)] = 4
    max_cutout: Strength = 0.5
    flip: bool = True


class KerasCVPolicy(_Policy):
    """KerasCV's RandAugment, then its RandomCutout."""

    policy: Literal["kerascv"] = "kerascv"
    num_ops: Annotated[int, Field(ge=1, le=11)] = 4
    magnitude: Strength = 0.5
    cutout: Strength = 0.5


class UprightPolicy(_Policy):
    """Nothing mirrored, nothing recoloured: digits, documents, defects."""

    policy: Literal["upright"] = "upright"
    rotate: Annotated[float, Field(ge=0.0, le=180.0)] = 10.0
    zoom: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.15
    shift: Strength = 0.1
    shear: Strength = 0.1
    brightness: Strength = 0.4
    gamma: Strength = 0.4
    blur_max_sigma: Annotated[float, Field(ge=0.0, le=10.0)] = 0.8
    cutout: Strength = 0.0
    fill: Literal["reflect", "black"] = "reflect"


PolicyConfig = Annotated[
    NonePolicy | WeakPolicy | MocoPolicy | SpicePolicy | KerasCVPolicy | UprightPolicy,
    Field(discriminator="policy"),
]


def expand_name(value: Any) -> Any:
    """Read a bare policy name, `views: moco`, as that policy with its defaults."""
    return {"policy": value} if isinstance(value, str) else value
