"""Pictures of more than eight bits a sample: read whole, and brought to eight.

Pillow keeps deep grey levels, but of deep colours it keeps the upper byte alone, and of colours
stored plane by plane it makes noise. Here the two bytes, or the planes, are read one after the
other and put together.
"""

from __future__ import annotations

import io
import math
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile

from spice_keras.data.levels import Extent, Kind, Range
from spice_keras.data.undecodable import UndecodableImage

Box = tuple[int, int, int, int]

_STRIP_PIXELS = 1 << 20
# Pillow's names of how colours of 16 bits lie in a file, without the order of their bytes.
_COLORS = {"RGB;16": 3, "RGBX;16": 3, "RGBA;16": 4}
_GREY_AND_ALPHA = "LA;16B"
_BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 258, 259, 262, 266
_STRIPS, _ROWS_PER_STRIP, _STRIP_SIZES, _PLANAR = 273, 278, 279, 284
_PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_SIZES = 317, 322, 323, 324, 325
_SMALLEST, _LARGEST = 340, 341
_SHORT, _LONG = 3, 4


@dataclass(frozen=True)
class DeepPicture:
    """A decoded picture of more than eight bits a sample.

    Attributes:
        size: width and height, in pixels.
        read: gives the samples of a box, [height, width, C]; C is 1 or 3, and one more for alpha.
        kind: whether the samples are whole numbers or floating-point ones.
        declared: what the file says is black and white; None if it does not.
        inverted: whether the smallest value is white.
        is_upright: whether its orientation has been taken into account.
        transparent: the samples of the one colour that is transparent, if there is one.
    """

    size: tuple[int, int]
    read: Callable[[Box], np.ndarray]
    kind: Kind = "integers"
    declared: Range | None = None
    inverted: bool = False
    is_upright: bool = False
    transparent: tuple[int, ...] | None = None

    def extent(self) -> Extent:
        """Return the smallest and largest value of its colours."""
        low, high = math.inf, -math.inf
        for box in strips((0, 0, *self.size)):
            colors = self.read(box)
            if colors.shape[2] in (2, 4):
                colors = colors[:, :, :-1]
            # np.minimum, unlike min, keeps a NaN.
            low = float(np.minimum(low, colors.min()))
            high = float(np.maximum(high, colors.max()))
        return Extent(self.kind, low, high)

    def strip(self, box: Box, value_range: Range) -> Image.Image:
        """Return a box of it as a Pillow picture of eight bits: L, RGB or RGBA."""
        samples = self.read(box)
        eight = eight_bits(samples, value_range)
        colors, alpha = eight, None
        if samples.shape[2] in (2, 4):
            colors, alpha = eight[:, :, :-1], eight[:, :, -1:]
        elif self.transparent is not None:
            seen = (samples != np.array(self.transparent, samples.dtype)).any(axis=2, keepdims=True)
            alpha = np.where(seen, np.uint8(255), np.uint8(0))
        if self.inverted:
            colors = 255 - colors
        if alpha is None:
            return Image.fromarray(colors[:, :, 0] if colors.shape[2] == 1 else colors)
        return Image.fromarray(np.dstack([np.broadcast_to(colors, (*colors.shape[:2], 3)), alpha]))


def strips(box: Box) -> Iterator[Box]:
    """Cut a box into strips of at most about a million pixels, from the top down."""
    left, top, right, bottom = box
    rows = max(1, _STRIP_PIXELS // max(1, right - left))
    for start in range(top, bottom, rows):
        yield left, start, right, min(start + rows, bottom)


def eight_bits(samples: np.ndarray, value_range: Range) -> np.ndarray:
    """Bring whole or floating-point numbers to eight bits.

    Args:
        samples: of any shape; what lies outside the range becomes black or white.
        value_range: what is black and what is white.

    Returns:
        uint8 of the same shape. Whole numbers that fill bits lose the lower ones; other ranges
        are scaled and rounded.

    Raises:
        UndecodableImage: for a NaN.
    """
    low, high = value_range
    if samples.dtype.kind == "f":
        if np.isnan(samples).any():
            raise UndecodableImage("NaN among its floating-point pixels")
    elif low == 0 and high >= 255 and (bits := math.log2(high + 1)).is_integer():
        levels = np.clip(samples, 0, int(high)).astype(np.uint32)
        return (levels >> (int(bits) - 8)).astype(np.uint8)
    # Halves: the span of a range of floating-point numbers can be too large for one.
    above = np.clip(samples.astype(np.float64), low, high) / 2 - low / 2
    return np.rint(above / (high / 2 - low / 2) * 255.0).astype(np.uint8)


def is_deep(image: Image.Image) -> bool:
    """Whether an opened picture, not yet loaded, is one that `read_deep` reads."""
    if image.mode == "F" or image.mode.startswith("I"):
        return True
    return _rawmode(image)[:-1] in _COLORS or _rawmode(image) == _GREY_AND_ALPHA or _planar(image)


def declared_range(image: Image.Image) -> Range | None:
    """What an opened picture's file says is black and white; None if it does not."""
    if image.format == "PPM":
        return (0.0, 65535.0) if image.mode != "F" else None  # Pillow scales to it
    tags = getattr(image, "tag_v2", {})
    low, high = _number(tags.get(_SMALLEST), min), _number(tags.get(_LARGEST), max)
    # A half, for it is halves that `eight_bits` divides by; that of the smallest number is 0.
    if high is not None and (low or 0.0) / 2 < high / 2:
        return low or 0.0, high
    bits = _number(tags.get(_BITS), max)
    return (0.0, 2.0**bits - 1) if bits is not None and 8 < bits < 16 else None


def _number(value: Any, pick: Callable[[Sequence[float]], float]) -> float | None:
    """One finite number of a tag's value, whatever that is."""
    try:
        number = float(pick([float(v) for v in value]) if isinstance(value, tuple) else value)
    except (TypeError, ValueError, ArithmeticError):
        return None
    return number if math.isfinite(number) else None


def read_deep(image: Image.Image, file: BinaryIO) -> DeepPicture:
    """Decode a picture for which `is_deep` is true.

    Args:
        image: opened from `file`, not yet loaded.
        file: read once more if Pillow gives one byte of two.

    Returns:
        The picture.
    """
    declared = declared_range(image)
    if image.mode == "F" or image.mode.startswith("I"):
        inverted = image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC, 1) == 0  # type: ignore[attr-defined]
        key = image.info.get("transparency")
        image.load()
        return DeepPicture(
            image.size,
            lambda box: np.asarray(image.crop(box))[:, :, None],
            "floats" if image.mode == "F" else "integers",
            declared,
            inverted,
            image.format == "TIFF",
            (key,) if isinstance(key, int) else None,
        )
    if _planar(image):
        return _read_planar(image, file, declared)
    return _read_colors(image, file, declared)


def _rawmode(image: Image.Image) -> str:
    """Pillow's name of how the pixels lie in the file."""
    tiles = getattr(image, "tile", None) or [None]
    args = getattr(tiles[0], "args", "")
    name = args[0] if isinstance(args, tuple) and args else args
    return name if isinstance(name, str) else ""


def _read_colors(image: Image.Image, file: BinaryIO, declared: Range | None) -> DeepPicture:
    """Grey with alpha, RGB or RGBA of 16 bits, sample by sample."""
    rawmode, is_tiff = _rawmode(image), image.format == "TIFF"
    key = image.info.get("transparency")
    if rawmode == _GREY_AND_ALPHA:
        _unpack_as(image, "RGBA")  # its four bytes, as they come
        image.load()
        return DeepPicture(image.size, lambda box: _pairs(image.crop(box)), declared=declared)
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}[rawmode[-1]]
    image.load()
    file.seek(0)
    lower = Image.open(file, formats=(str(image.format),))
    _unpack_as(lower, rawmode[:-1] + other)
    lower.load()
    channels = _COLORS[rawmode[:-1]]

    def read(box: Box) -> np.ndarray:
        upper = np.asarray(image.crop(box))[:, :, :channels].astype(np.uint16)
        return (upper << 8) | np.asarray(lower.crop(box))[:, :, :channels]

    return DeepPicture(
        image.size,
        read,
        declared=declared,
        is_upright=is_tiff,
        transparent=tuple(key) if isinstance(key, tuple) and len(key) == channels == 3 else None,
    )


def _unpack_as(image: Image.Image, rawmode: str) -> None:
    """Let Pillow read the bytes of each pixel in another way."""
    if not isinstance(image, ImageFile.ImageFile):
        raise TypeError(f"Expected a picture from a file. Received: {image!r}")
    tiles = []
    for tile in image.tile:
        args = (rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode
        tiles.append(tile._replace(args=args))
    image.tile = tiles


def _pairs(image: Image.Image) -> np.ndarray:
    """Two big-endian samples of 16 bits from the four channels of a picture."""
    return np.asarray(image).view(">u2").astype(np.uint16)


def _planar(image: Image.Image) -> bool:
    """Whether a TIFF stores colours of 16 bits plane by plane."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS, ())
    deep = isinstance(bits, tuple) and set(bits) == {16} and image.mode in ("RGB", "RGBA")
    return deep and tags.get(_PLANAR) == 2


def _read_planar(image: Image.Image, file: BinaryIO, declared: Range | None) -> DeepPicture:
    """RGB or RGBA of 16 bits, plane by plane: each one as a grey TIFF of its own."""
    channels = 3 if image.mode == "RGB" else 4
    planes = [_plane(image, file, channel) for channel in range(channels)]
    for plane in planes:
        plane.load()
    return DeepPicture(
        planes[0].size,
        lambda box: np.dstack([np.asarray(plane.crop(box)) for plane in planes]),
        declared=declared,
    )


def _plane(image: Image.Image, file: BinaryIO, channel: int) -> Image.Image:
    """One plane of a TIFF as a TIFF of its own; strips or tiles are copied as they are."""
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    order = tags.prefix.decode("ascii")
    end = "<" if order == "II" else ">"
    places, sizes = (_TILES, _TILE_SIZES) if _TILES in tags else (_STRIPS, _STRIP_SIZES)
    pieces = list(zip(tags[places], tags[sizes], strict=True))
    samples = len(tags[_BITS])
    pieces = pieces[len(pieces) * channel // samples : len(pieces) * (channel + 1) // samples]
    body, offsets = io.BytesIO(), []
    for place, size in pieces:
        file.seek(place)
        offsets.append(8 + body.tell())
        body.write(file.read(size))
    body.write(b"\0" * (body.tell() % 2))
    width, height = image._tile_size  # type: ignore[attr-defined]
    entries = {256: (_LONG, [width]), 257: (_LONG, [height]), _BITS: (_SHORT, [16])}
    entries |= {_PHOTOMETRIC: (_SHORT, [1]), 277: (_SHORT, [1]), places: (_LONG, offsets)}
    entries |= {sizes: (_LONG, [size for _, size in pieces])}
    for tag in (_COMPRESSION, _FILL_ORDER, _PREDICTOR):
        entries[tag] = (_SHORT, [int(tags.get(tag, 1))])
    for tag in (_ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT):
        if tag in tags:
            entries[tag] = (_LONG, [int(tags[tag])])
    start = 8 + body.tell()
    head = order.encode() + struct.pack(f"{end}HI", 42, start)
    directory = _directory(entries, start, end)
    return Image.open(io.BytesIO(head + body.getvalue() + directory), formats=("TIFF",))


def _directory(entries: dict[int, tuple[int, list[int]]], start: int, end: str) -> bytes:
    """The tags of a TIFF, with the long ones behind them."""
    table, behind = b"", b""
    long_start = start + 2 + 12 * len(entries) + 4
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"{end}{len(values)}{'H' if kind == _SHORT else 'I'}", *values)
        if len(packed) > 4:
            place = struct.pack(f"{end}I", long_start + len(behind))
            behind += packed
        else:
            place = packed.ljust(4, b"\0")
        table += struct.pack(f"{end}HHI", tag, kind, len(values)) + place
    return struct.pack(f"{end}H", len(entries)) + table + b"\0\0\0\0" + behind
