"""From an image file, however odd, to a small square of uint8 RGB; or a reason why not."""

from __future__ import annotations

import io
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from spice_keras.data.quiet_pillow import quiet_pillow
from spice_keras.options import Fit

# Only formats that Pillow decodes itself: EPS, for one, would start another program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
TRANSPARENCY_BACKGROUND = (255, 255, 255)

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UndecodableImage(Exception):
    """A file that gives no image; its message is the reason, in a few words for the user."""


def decode_image(
    data: bytes | Path, *, image_size: int, fit: Fit = "crop", max_pixels: int
) -> np.ndarray:
    """Decode one image file and resize it.

    The first frame of an animation counts, turned upright by its EXIF orientation.
    Transparency is laid over white. 16-bit grey levels are divided by 256, floating-point
    ones must lie in 0..1. Large JPEG files are decoded at a fraction of their size.

    Args:
        data: the bytes of the file, or its path.
        image_size: side S of the result, in pixels.
        fit: "crop" keeps the middle square, "stretch" keeps everything and bends the shape.
        max_pixels: width times height from which on a file is refused, read from its header.

    Returns:
        uint8 RGB [S, S, 3].

    Raises:
        UndecodableImage: for a file that is missing, empty, truncated, too large, no regular
            file or no image.
    """
    _check_target(image_size, fit)
    with quiet_pillow():
        try:
            with _open(data) as file:
                return _decode(file, image_size, fit, max_pixels)
        except UndecodableImage:
            raise
        # A damaged file can make Pillow's decoders raise nearly anything; none may end a run.
        except Exception as error:
            raise UndecodableImage(_reason(error)) from error


def resize_image(array: np.ndarray, image_size: int, fit: Fit = "crop") -> np.ndarray:
    """Resize one image to a square, bilinear with antialiasing.

    Args:
        array: uint8 [H, W] or [H, W, 1] grey, [H, W, 3] RGB, or [H, W, 4] RGBA over white.
        image_size: side S of the result, in pixels.
        fit: "crop" keeps the middle square, "stretch" keeps everything and bends the shape.

    Returns:
        uint8 RGB [S, S, 3].

    Raises:
        ValueError: for another dtype or shape.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    _check_target(image_size, fit)
    channels = array.shape[2:]
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in ((), (3,), (4,)):
        raise ValueError(
            "Expected an image of dtype uint8 and shape [H, W], [H, W, 1], [H, W, 3] or "
            f"[H, W, 4]. Received: dtype={array.dtype}, shape={array.shape}"
        )
    if 0 in array.shape:
        raise ValueError(f"Expected at least one pixel. Received: shape={array.shape}")
    image = _rgb(Image.fromarray(np.ascontiguousarray(array)))
    return _square(image, image_size, fit)


def _check_target(image_size: int, fit: Fit) -> None:
    """Refuse a target that no image can be resized to."""
    if image_size < 1:
        raise ValueError(f"Expected a side of at least one pixel. Received: {image_size=}")
    if fit not in ("crop", "stretch"):
        raise ValueError(f'Expected a fit of "crop" or "stretch". Received: {fit=}')


def _reason(error: Exception) -> str:
    """Say in one line why a file gave no image."""
    match error:
        case UnidentifiedImageError():
            return f"not an image, or of a format other than {', '.join(FORMATS)}"
        case Image.DecompressionBombError():
            return "too large: more pixels than Pillow accepts"
        case FileNotFoundError():
            return "no such file, or a broken symbolic link"
        case PermissionError():
            return "no permission to read it"
        case OSError(strerror=str(message)):
            return f"cannot be read: {message}"
    return f"damaged: {' '.join(str(error).split()) or type(error).__name__}"


def _open(data: bytes | Path) -> BinaryIO:
    """Open bytes or a regular file; anything else, a named pipe say, could block for ever."""
    if isinstance(data, bytes):
        size, file = len(data), io.BytesIO(data)
    else:
        status = data.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UndecodableImage("not a regular file")
        size = status.st_size
    if size == 0:
        raise UndecodableImage("empty: 0 bytes")
    return file if isinstance(data, bytes) else data.open("rb")


def _decode(file: BinaryIO, image_size: int, fit: Fit, max_pixels: int) -> np.ndarray:
    """Open, check the size before any pixel is decoded, then decode and resize."""
    with Image.open(file, formats=FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise UndecodableImage(
                f"too large: {width} x {height} pixels, more than the limit of {max_pixels:,}"
            )
        orientation = _orientation(image)
        # Twice the target leaves the last halving to the antialiased resize below.
        image.draft(None, (2 * image_size, 2 * image_size))
        upright = _rgb(image)
        if orientation in _UPRIGHT:
            upright = upright.transpose(_UPRIGHT[orientation])
        return _square(upright, image_size, fit)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; a malformed EXIF block counts as none."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    # A malformed block raises nearly anything, and the pixels are fine without it.
    except Exception:
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB, deep grey scaled to 8 bits and transparency laid over white."""
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    background = Image.new("RGBA", layer.size, (*TRANSPARENCY_BACKGROUND, 255))
    return Image.alpha_composite(background, layer).convert("RGB")


def _eight_bits(grey: np.ndarray) -> np.ndarray:
    """Grey levels of 16 bits, or floating-point ones in 0..1, as uint8 of the same shape."""
    low, high = grey.min(), grey.max()
    if grey.dtype.kind == "f":
        # Written so that a NaN fails it as well.
        if not (low >= 0 and high <= 1):
            raise UndecodableImage("floating-point pixels outside 0..1")
        return np.rint(grey * 255.0).astype(np.uint8)
    if low < 0 or high > 0xFFFF:
        raise UndecodableImage("integer pixels outside 0..65535")
    return (grey.astype(np.int32) >> 8).astype(np.uint8)


def _square(image: Image.Image, image_size: int, fit: Fit) -> np.ndarray:
    """Resize an RGB image to uint8 [S, S, 3]."""
    if fit == "crop":
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        # Cut first: a resize with a box would blend in pixels from outside it.
        image = image.crop((left, top, left + side, top + side))
    return np.array(image.resize((image_size, image_size), Image.Resampling.BILINEAR))
