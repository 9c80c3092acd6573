"""The handwritten digits that ship with scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np

from spice_keras.data.decoding import resize_image
from spice_keras.data.labels import Labels, values_of
from spice_keras.data.sources import DataSource, Decoded, SkippedFile, SourceOptions

_COUNT = 1797


def _ids() -> list[str]:
    """Ids of the digits: their rows in scikit-learn's data set."""
    return [f"digits/{row:04d}" for row in range(_COUNT)]


class DigitsSource(DataSource):
    """The 1,797 handwritten digits of 8x8 pixels inside scikit-learn; needs no download.

    Args:
        image_size: side S of the images given, in pixels.
    """

    def __init__(self, image_size: int) -> None:
        self.image_size = image_size

    @classmethod
    def open(cls, options: SourceOptions) -> Self:
        """Take the size; scikit-learn is imported with the first image."""
        return cls(options.image_size)

    def __len__(self) -> int:
        return _COUNT

    def items(self) -> Iterator[Decoded | SkippedFile]:
        """Every digit, in scikit-learn's order."""
        from sklearn.datasets import load_digits

        # The pixels are grey levels 0..16.
        images = np.rint(load_digits().images * (255.0 / 16.0)).astype(np.uint8)
        for name, grey in zip(_ids(), images, strict=True):
            yield Decoded(name, resize_image(grey, self.image_size, fit="stretch"))

    @classmethod
    def read_labels(cls, options: SourceOptions, ids: Sequence[str]) -> Labels:
        """Which digit each image shows.

        Args:
            options: not needed.
            ids: of the N items wanted, in this order.

        Returns:
            The labels.

        Raises:
            UserError: if an id is not of this source.
        """
        from sklearn.datasets import load_digits

        values = values_of(ids, _ids(), load_digits().target)
        return Labels(values, tuple(str(digit) for digit in range(10)))
