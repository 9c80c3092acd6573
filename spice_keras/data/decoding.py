"""From an image file, however odd, to a small square of uint8 RGB; or a reason why not."""

from __future__ import annotations

import io
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from spice_keras.data.deep_pixels import Box, declared_range, is_deep, read_deep, strips
from spice_keras.data.levels import Extent, Levels, Range
from spice_keras.data.libtiff_lines import libtiff_lines
from spice_keras.data.pixel_budget import PixelBudget
from spice_keras.data.png_text import without_large_texts
from spice_keras.data.quiet_pillow import quiet_pillow
from spice_keras.data.undecodable import UndecodableImage as UndecodableImage
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


_TURNS_X, _TURNS_Y = frozenset({2, 3, 7, 8}), frozenset({3, 4, 6, 7})


def decode_image(
    data: bytes | Path,
    *,
    image_size: int,
    fit: Fit = "crop",
    max_pixels: int,
    levels: Levels | None = None,
    budget: PixelBudget | None = None,
) -> np.ndarray:
    """Decode one image file and resize it.

    The first frame of an animation counts, turned upright by its EXIF orientation.
    Transparency is laid over white. Pictures of more than eight bits a sample are brought to
    eight by the range that the file states, else by `levels`, else by the largest value of the
    picture. Large JPEG files are decoded at a fraction of their size.

    Args:
        data: the bytes of the file, or its path.
        image_size: side S of the result, in pixels.
        fit: "crop" keeps the middle square, "stretch" keeps everything and bends the shape.
        max_pixels: width times height from which on a file is refused, read from its header.
        levels: what is black and white in pictures of more than eight bits that do not say so;
            None to judge each alone.
        budget: bounds the pixels decoded at the same time by all threads that share it.

    Returns:
        uint8 RGB [S, S, 3].

    Raises:
        UndecodableImage: for a file that is missing, empty, truncated, too large, no regular
            file or no image.
    """
    _check_target(image_size, fit)
    # The room is given back last, when the pixels are gone.
    with ExitStack() as room, _decodable(data, max_pixels) as (file, image):
        if is_deep(image):
            value_range = _range_from(levels, image)
            room.enter_context(_room(image, budget))
            overruled = levels is not None and levels.overrules
            return _deep_square(image, file, data, _Target(image_size, fit, value_range, overruled))
        # Twice the target leaves the last halving to the antialiased resize below.
        image.draft(None, (2 * image_size, 2 * image_size))
        room.enter_context(_room(image, budget))
        with _printed_lines(image, data):
            image.load()
        # Asked after loading: a PNG may have it behind its pixels. Pillow turns a TIFF itself.
        orientation = 1 if image.format == "TIFF" else _orientation(image)
        return _square(
            _rgb(image, _kept_box(image.size, fit, orientation)), orientation, image_size
        )


def deep_extent(path: Path, max_pixels: int, budget: PixelBudget | None = None) -> Extent | None:
    """Look at the values of a picture of more than eight bits that does not state their range.

    Args:
        path: any file.
        max_pixels: width times height from which on a file is passed over.
        budget: as for `decode_image`.

    Returns:
        The smallest and largest value; None for any other file, and for one that gives no image.
    """
    try:
        with ExitStack() as room, _decodable(path, max_pixels) as (file, image):
            if not is_deep(image) or declared_range(image):
                return None
            room.enter_context(_room(image, budget))
            with _printed_lines(image, path):
                return read_deep(image, file).extent()
    except UndecodableImage:
        return None


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
    image = Image.fromarray(np.ascontiguousarray(array))
    return _square(_rgb(image, _kept_box(image.size, fit)), 1, image_size)


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


@contextmanager
def _decodable(data: bytes | Path, max_pixels: int) -> Iterator[tuple[BinaryIO, Image.Image]]:
    """Open a picture whose size is checked; whatever goes wrong with it is the file's fault."""
    with quiet_pillow():
        try:
            with (
                _open(data) as opened,
                without_large_texts(opened) as file,
                Image.open(file, formats=FORMATS) as image,
            ):
                width, height = image.size
                if width * height > max_pixels:
                    raise UndecodableImage(
                        f"too large: {width} x {height} pixels, more than the limit of "
                        f"{max_pixels:,} (data.max_pixels)"
                    )
                try:
                    yield file, image
                finally:
                    image.close()  # its pixels too, which `with` leaves
        except UndecodableImage:
            raise
        # A damaged file can make Pillow's decoders raise nearly anything; none may end a run.
        except Exception as error:
            raise UndecodableImage(_reason(error)) from error


class _Target(NamedTuple):
    """What a picture of more than eight bits is decoded to.

    The range is what `Levels` say, or None; `overruled` is whether it replaces a stated one.
    """

    image_size: int
    fit: Fit
    value_range: Range | None
    overruled: bool


def _range_from(levels: Levels | None, image: Image.Image) -> Range | None:
    """Ask for the range of a picture that states none. It may mean to decode every other file."""
    if levels is None or (declared_range(image) is not None and not levels.overrules):
        return None
    return levels.of("floats" if image.mode == "F" else "integers")


def _deep_square(
    image: Image.Image, file: BinaryIO, data: bytes | Path, target: _Target
) -> np.ndarray:
    """Decode a picture of more than eight bits a sample, and resize it."""
    stated = declared_range(image)
    with _printed_lines(image, data):
        picture = read_deep(image, file)
    if stated is None and not target.overruled:
        stated = picture.extent().value_range()
    value_range = target.value_range or stated or (0.0, 1.0)
    orientation = 1 if picture.is_upright else _orientation(image)
    box = _kept_box(picture.size, target.fit, orientation)
    rgb = _over_white(box, lambda strip: picture.strip(strip, value_range))
    return _square(rgb, orientation, target.image_size)


def _room(image: Image.Image, budget: PixelBudget | None) -> AbstractContextManager[None]:
    """Wait for room to decode a picture; one of more than eight bits takes twice as much."""
    if budget is None:
        return nullcontext()
    return budget.taken(image.width * image.height * (2 if is_deep(image) else 1))


def _printed_lines(image: Image.Image, data: bytes | Path) -> AbstractContextManager[None]:
    """Catch what libtiff prints, if it is what decodes the picture."""
    if not getattr(image, "use_load_libtiff", False):
        return nullcontext()
    return libtiff_lines(str(data) if isinstance(data, Path) else "a picture")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; a malformed EXIF block counts as none."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    # A malformed block raises nearly anything, and the pixels are fine without it.
    except Exception:
        return 1


def _kept_box(size: tuple[int, int], fit: Fit, orientation: int = 1) -> Box:
    """The part of a picture, as it is stored, that its square is made from."""
    width, height = size
    if fit == "stretch":
        return 0, 0, width, height
    side = min(size)
    left, top = (width - side) // 2, (height - side) // 2
    # An odd margin lies on the other side of a picture that is turned afterwards.
    if orientation in _TURNS_X:
        left = width - side - left
    if orientation in _TURNS_Y:
        top = height - side - top
    return left, top, left + side, top + side


def _rgb(image: Image.Image, box: Box) -> Image.Image:
    """A box of a picture of eight bits as RGB, with transparency laid over white."""
    if image.mode == "RGB" and not image.has_transparency_data:
        # Cut first: a resize with a box would blend in pixels from outside it.
        return image if box == (0, 0, *image.size) else image.crop(box)
    return _over_white(box, image.crop)


def _over_white(box: Box, strip_of: Callable[[Box], Image.Image]) -> Image.Image:
    """Put strips of a picture together as RGB; whole copies of a large one would add up."""
    left, top, right, bottom = box
    whole = Image.new("RGB", (right - left, bottom - top))
    for part in strips(box):
        strip = strip_of(part)
        if strip.has_transparency_data:
            layer = strip.convert("RGBA")
            background = Image.new("RGBA", layer.size, (*TRANSPARENCY_BACKGROUND, 255))
            strip = Image.alpha_composite(background, layer)
        whole.paste(strip.convert("RGB"), (0, part[1] - top))
    return whole


def _square(image: Image.Image, orientation: int, image_size: int) -> np.ndarray:
    """Turn an RGB picture upright and resize it to uint8 [S, S, 3]."""
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    return np.array(image.resize((image_size, image_size), Image.Resampling.BILINEAR))
