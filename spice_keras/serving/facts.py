"""The facts beside a SavedModel, spice.json, checked like a configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from spice_keras.data.levels import KnownLevels, Range
from spice_keras.errors import UserError
from spice_keras.options import Fit, Options, Positive, Share

FILE = "spice.json"
_LARGEST_FILE = 64 * 2**20
_MOST_SIDE = 65_536


class ModelFacts(Options):
    """What `spice predict` and `spice serve` need to know of a SavedModel.

    A model of images has `image_size`, `fit` and `max_pixels`; a model of embeddings has
    `num_features`.
    """

    num_clusters: Annotated[int, Field(ge=1)]
    """K."""
    names: tuple[str, ...] = ()
    """What each cluster is called, "" if it has no name; empty without words."""
    image_size: Annotated[int, Field(ge=1, le=_MOST_SIDE)] | None = None
    """Side S of the images the clusterer takes, in pixels."""
    fit: Fit | None = None
    """How an image becomes a square."""
    max_pixels: Positive | None = None
    """Height times width from which on an image is refused."""
    levels: dict[str, Any] | None = None
    """What is black and white in pictures of more than eight bits, as `KnownLevels` writes it."""
    num_features: Positive | None = None
    """Features D of an embedding."""
    unsure_below: Share | None = None
    """The confidence below which an item is told as unsure; None in an older model."""

    @model_validator(mode="after")
    def _images_or_embeddings(self) -> Self:
        if self.levels is not None:
            KnownLevels.from_dict(self.levels)
        if self.names and len(self.names) != self.num_clusters:
            raise ValueError(f"{len(self.names)} names for {self.num_clusters} clusters")
        of_images = (self.image_size, self.fit, self.max_pixels)
        if (self.num_features is None) == any(value is None for value in of_images):
            raise ValueError("it needs image_size, fit and max_pixels, or num_features")
        if self.num_features is not None and any(value is not None for value in of_images):
            raise ValueError("it names images and embeddings at once")
        return self

    @property
    def of_embeddings(self) -> bool:
        """Whether the model takes embeddings rather than images."""
        return self.num_features is not None

    @property
    def deep_range(self) -> Range | None:
        """What is black and white in pictures of more than eight bits; None to find out."""
        return None if self.levels is None else KnownLevels.from_dict(self.levels).integers

    def decoding(self) -> dict[str, Any]:
        """Return the arguments of `decode_image` for the images of this model."""
        found = {key: getattr(self, key) for key in ("image_size", "fit", "max_pixels")}
        return found | {"levels": self.levels and KnownLevels.from_dict(self.levels)}


def read_facts(model: Path) -> ModelFacts:
    """Read and check what `spice export` wrote beside a SavedModel.

    Args:
        model: The SavedModel's folder.

    Returns:
        The facts.

    Raises:
        UserError: If the folder is not a SavedModel, or spice.json is missing or malformed.
    """
    if not (model / "saved_model.pb").is_file():
        raise UserError(
            f"{model} is not a SavedModel; `spice export` writes saved_models/NAME/VERSION."
        )
    path = model / FILE
    foreign = f"{model} is a SavedModel, but `spice export` did not write it: its {FILE} "
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise UserError(f"{foreign}is larger than {_LARGEST_FILE // 2**20} MiB.")
        return ModelFacts.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{foreign}cannot be read ({error.strerror or error}).") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{foreign}is malformed: {place}: {first['msg']}.") from error


def newest_version(folder: Path) -> Path | None:
    """Find the newest version of a model, as TensorFlow Serving counts them.

    Args:
        folder: saved_models/NAME.

    Returns:
        The folder VERSION with the largest number that holds a SavedModel; None if there is none.
    """
    versions = [
        path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if re.fullmatch("[0-9]{1,18}", path.name) and (path / "saved_model.pb").is_file()
    ]
    return max(versions, key=lambda path: int(path.name), default=None)
