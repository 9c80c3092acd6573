"""What every part of the configuration shares: strictness and the common types of values."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from spice_keras.config.policies import PolicyConfig, expand_name

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
Policy = Annotated[PolicyConfig, BeforeValidator(expand_name)]


class Section(BaseModel):
    """A part of the configuration: frozen, strict, no unknown key, no infinite number."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=False,
        populate_by_name=True,
        allow_inf_nan=False,
    )
