"""Heat maps of the prototypes: which part of an image looks like the centre of its cluster."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def cosine_heat_maps(feature_maps: Floats, centers: Floats) -> Floats:
    """Heat maps: the cosine of the cluster's centre and every position of the feature map.

    Args:
        feature_maps: last map of the encoder for each image. Shape: (num_images, height, width,
            dim).
        centers: centre of the cluster each image belongs to, of any length. Shape: (num_images,
            dim).

    Returns:
        Cosines in [-1, 1]; 0 if the map or the centre is the zero vector. Shape: (num_images,
        height, width).

    Raises:
        ValueError: the shapes do not belong together.

    SPICE (arXiv 2103.09382) Fig. 3.
    """
    maps = np.asarray(feature_maps, dtype=np.float32)
    wanted = np.asarray(centers, dtype=np.float32)
    if maps.ndim != 4 or wanted.shape != (len(maps), maps.shape[-1]):
        raise ValueError(
            "`feature_maps` must be [n, height, width, dim] and `centers` [n, dim]. Received: "
            f"feature_maps.shape={maps.shape}, centers.shape={wanted.shape}"
        )
    products = np.einsum("nhwd,nd->nhw", maps, wanted)
    lengths = np.linalg.norm(maps, axis=-1) * np.linalg.norm(wanted, axis=-1)[:, None, None]
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return np.clip(cosines, -1.0, 1.0)


def stretched(heat_maps: Floats) -> Floats:
    """Heat maps stretched to [0, 1], each by its own smallest and largest value.

    Args:
        heat_maps: any finite values. Shape: (num_images, height, width).

    Returns:
        The same shape; 0 throughout if a map is constant.

    SPICE (arXiv 2103.09382) Fig. 3, as the released code draws it.
    """
    maps = np.asarray(heat_maps, dtype=np.float32)
    lowest = maps.min(axis=(1, 2), keepdims=True)
    spread = maps.max(axis=(1, 2), keepdims=True) - lowest
    return np.divide(maps - lowest, spread, out=np.zeros_like(maps), where=spread > 0)


def upsampled(heat_maps: Floats, side: int) -> Floats:
    """Heat maps enlarged to the picture, bilinearly between the centres of their cells.

    Args:
        heat_maps: of any height and width, at least 1. Shape: (num_images, height, width).
        side: S, the side of the picture in pixels.

    Returns:
        Values between those around each pixel. Shape: (num_images, side, side).

    Raises:
        ValueError: `side` is not positive.
    """
    if side < 1:
        raise ValueError(f"`side` must be at least 1. Received: side={side}")
    maps = np.asarray(heat_maps, dtype=np.float32)
    rows = _bilinear_weights(maps.shape[1], side)
    columns = _bilinear_weights(maps.shape[2], side)
    return np.einsum("yh,nhw,xw->nyx", rows, maps, columns, optimize=True)


def _bilinear_weights(cells: int, side: int) -> Floats:
    """Weights [side, cells] of each cell in each pixel; beyond the outer centres, those count."""
    position = np.clip((np.arange(side) + 0.5) * cells / side - 0.5, 0, cells - 1)
    distance = np.abs(position[:, None] - np.arange(cells)[None, :])
    return np.maximum(0.0, 1.0 - distance).astype(np.float32)
