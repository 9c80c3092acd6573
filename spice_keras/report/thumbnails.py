"""Images as data URIs, as many and as large as the size of the page allows."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

LOSSLESS_SIDE = 32
DISPLAY_SIDE = 64
MAX_THUMBNAILS = 1200
MAX_PNG_BYTES = 300_000


@dataclass(frozen=True)
class ThumbnailPlan:
    """How many images a cluster shows and how large and fine they are stored.

    Attributes:
        prototypes: images nearest to the centre, per cluster.
        least_certain: images of lowest confidence, per cluster.
        side: largest side stored, in pixels.
        quality: JPEG quality.
        lossless: whether tiny images are kept exactly.
    """

    prototypes: int
    least_certain: int
    side: int
    quality: int
    lossless: bool = True


PLANS: Sequence[ThumbnailPlan] = (
    ThumbnailPlan(prototypes=12, least_certain=6, side=96, quality=82),
    ThumbnailPlan(prototypes=6, least_certain=6, side=80, quality=78),
    ThumbnailPlan(prototypes=6, least_certain=3, side=72, quality=74),
    ThumbnailPlan(prototypes=4, least_certain=2, side=64, quality=68),
    ThumbnailPlan(prototypes=3, least_certain=1, side=48, quality=60, lossless=False),
    ThumbnailPlan(prototypes=2, least_certain=1, side=40, quality=50, lossless=False),
)


def affordable_plans(num_clusters: int) -> Sequence[ThumbnailPlan]:
    """Lists the plans that stay below `MAX_THUMBNAILS`, richest first; at least the last one."""
    fitting = [
        plan
        for plan in PLANS
        if num_clusters * (plan.prototypes + plan.least_certain) <= MAX_THUMBNAILS
    ]
    return fitting or PLANS[-1:]


def display_side(image_size: int) -> int:
    """Side on the page, in CSS pixels: a whole multiple of the side for tiny images."""
    if image_size > LOSSLESS_SIDE:
        return DISPLAY_SIDE
    return image_size * max(1, DISPLAY_SIDE // image_size)


def thumbnail(image: npt.NDArray[np.uint8], plan: ThumbnailPlan) -> str:
    """Stores one image as a data URI.

    If the plan is lossless, images of at most 32 pixels are kept as they are, and the page
    enlarges them with hard edges. Others are reduced to the side of the plan and compressed. Grey
    images are stored with one channel.

    Args:
        image: [S, S, 3] uint8.
        plan: side and quality.

    Returns:
        "data:image/png;base64,..." or "data:image/jpeg;base64,...".
    """
    array = np.asarray(image)
    picture = _picture(array)
    buffer = io.BytesIO()
    if plan.lossless and max(array.shape[:2]) <= LOSSLESS_SIDE:
        picture.save(buffer, format="PNG", optimize=True)
        kind = "png"
    else:
        picture.thumbnail((plan.side, plan.side), Image.Resampling.LANCZOS)
        picture.save(buffer, format="JPEG", quality=plan.quality, optimize=True)
        kind = "jpeg"
    return data_uri(buffer.getvalue(), kind)


def data_uri(data: bytes, kind: str) -> str:
    """Writes the bytes of an image into a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def figure_uri(path: Path) -> str:
    """Writes a figure into a data URI: a PNG as it is, or a JPEG if it is large.

    Args:
        path: the PNG file.

    Returns:
        A data URI of the file, or of a JPEG of it beyond `MAX_PNG_BYTES`.
    """
    data = path.read_bytes()
    if len(data) <= MAX_PNG_BYTES:
        return data_uri(data, "png")
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").save(buffer, format="JPEG", quality=88, optimize=True)
    return data_uri(buffer.getvalue(), "jpeg")


def _picture(array: npt.NDArray[Any]) -> Image.Image:
    """Makes a picture of one image, grey if its three channels are equal."""
    red = array[..., 0]
    grey = np.array_equal(red, array[..., 1]) and np.array_equal(red, array[..., 2])
    return Image.fromarray(np.ascontiguousarray(red if grey else array))
