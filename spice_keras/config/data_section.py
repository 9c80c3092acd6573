"""The configuration's `data`: where items come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from spice_keras.config.section import Positive, Section, Share


class DataConfig(Section):
    """Where the images, or embeddings, come from, and the one size images are brought to."""

    source: Literal["digits", "folder", "arrays", "tfds", "embeddings"] = "digits"
    path: str | None = None
    """The folder, the .npy/.npz file of images or embeddings, or the TensorFlow Datasets name."""
    split: str = "train"
    """TensorFlow Datasets only; `train+test` joins two."""
    tfds_dir: str | None = None
    """Where prepared TensorFlow Datasets lie; null: their own place."""
    image_size: Annotated[int, Field(ge=8, le=512)] = 32
    fit: Literal["crop", "stretch"] = "crop"
    """`crop` keeps the proportions and cuts the longer side; `stretch` does not."""
    labels: Literal["none", "source", "from-folders"] = "source"
    """What evaluation may compare with. A plain folder has no labels unless `from-folders`."""
    max_pixels: Positive = 100_000_000
    """A larger picture is skipped: a guard against decompression bombs."""
    max_skipped_share: Share = 0.2
    memory_limit_mb: Annotated[int, Field(ge=0)] = 1024
    """Above this the images stay on disk, memory-mapped."""
