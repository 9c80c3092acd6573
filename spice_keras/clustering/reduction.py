"""Images made small by the mean of areas, for whatever compares them pixel by pixel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def reduced_images(
    images: np.ndarray, side: int, rows: np.ndarray | None = None
) -> npt.NDArray[np.uint8]:
    """Images reduced to a side, each pixel the mean of the area it covers.

    Args:
        images: uint8, perhaps memory-mapped; read one by one. Shape: (num_images, S, S, 3).
        side: Side of the result in pixels, at least 1; smaller images stay as they are.
        rows: The images wanted; all if None. Shape: (num_rows,).

    Returns:
        Shape: (num_rows, min(side, S), min(side, S), 3).

    Raises:
        ValueError: If the images are not squares of three channels or the side is not positive.
    """
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise ValueError(f"`images` must be (num_images, S, S, 3). Received: {images.shape=}")
    if side < 1:
        raise ValueError(f"`side` must be at least 1. Received: {side=}")
    if images.shape[1] <= side:
        return np.asarray(images if rows is None else images[rows])
    chosen = range(len(images)) if rows is None else rows
    found = np.empty((len(chosen), side, side, 3), np.uint8)
    for place, row in enumerate(chosen):
        picture = Image.fromarray(np.ascontiguousarray(images[row]))
        found[place] = np.asarray(picture.resize((side, side), Image.Resampling.BOX))
    return found


def grey_thumbnails(images: np.ndarray, side: int = 16) -> npt.NDArray[np.float32]:
    """Grey values of reduced images, one vector an image.

    Args:
        images: uint8. Shape: (num_images, S, S, 3).
        side: Side of the thumbnails in pixels.

    Returns:
        Brightness in [0, 255]. Shape: (num_images, min(side, S) ** 2).
    """
    small = reduced_images(images, side)
    grey: npt.NDArray[np.float32] = small.astype(np.float32) @ _LUMA
    return grey.reshape(len(small), -1)
