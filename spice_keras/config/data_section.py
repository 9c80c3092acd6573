"""The configuration's `data`: where items come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from spice_keras.config.class_lists import check_folder_names, expand_classes
from spice_keras.config.section import Positive, Section, Share

Role = Literal["test", "train", "extra"]
Classes = Annotated[
    tuple[str, ...],
    Field(strict=False),
    BeforeValidator(expand_classes),
    AfterValidator(check_folder_names),
]


class DataConfig(Section):
    """Where the images, or embeddings, come from, and the one size images are brought to."""

    source: Literal["digits", "folder", "arrays", "tfds", "embeddings"] = "digits"
    path: str | None = None
    """The folder, the .npy/.npz file of images or embeddings, or the TensorFlow Datasets name."""
    split: str = "train"
    """TensorFlow Datasets only; `train+test` joins two."""
    protocol: Literal["whole", "split"] = "whole"
    """`whole`: train and test images are one set, clustered and reported. `split`: every stage
    sees the train images alone, and the finished model's clusters of the test images are
    reported."""
    test_path: str | None = None
    """The test images: a folder or file of the same kind as `path`."""
    test_split: str | None = None
    """The same of TensorFlow Datasets: a split."""
    extra_path: str | None = None
    """Further images, unlabelled, that pretraining sees as well."""
    extra_split: str | None = None
    """The same of TensorFlow Datasets: a split."""
    deduplicate: bool = False
    """Leave out extra images whose pixels, at `image_size`, are those of a test image."""
    classes: Classes | None = None
    """Folders only: the sub-folders to read, or a list's name, `imagenet10` or `imagenet_dogs`."""
    label_key: str = "label"
    """TensorFlow Datasets only: the feature that holds the class, for evaluation."""
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

    @property
    def has_test(self) -> bool:
        """Whether there is a part of test images."""
        return bool(self.test_path or self.test_split)

    @property
    def has_extra(self) -> bool:
        """Whether there is a part of extra, unlabelled images."""
        return bool(self.extra_path or self.extra_split)

    @property
    def gives_no_labels(self) -> bool:
        """Whether it is clear without a look at the data that there are no labels."""
        return self.labels == "none" or (self.source == "folder" and self.labels != "from-folders")
