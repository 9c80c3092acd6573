"""What an image file says of itself: format, size and orientation, read inside a graph.

Every function takes the bytes of one file as tensors and never fails: what lies beyond the end
reads as zero, and what makes no sense becomes a reason in words.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

JPEG, PNG, GIF, BMP, WEBP, UNKNOWN = range(6)
FORMATS = "BMP, GIF, JPEG, PNG, WEBP"
"""The formats that a graph decodes."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"
_ORIENTATION_TAG, _SHORT, _LONG = 0x0112, 3, 4
_SMALL, _BIG = "little", "big"


class FileBytes:
    """The bytes of a file as numbers, zero beyond its end.

    Args:
        data: Scalar string.
    """

    def __init__(self, data: tf.Tensor) -> None:
        self.data = data
        self.length = tf.cast(tf.strings.length(data), tf.int64)
        values = tf.io.decode_raw(data, tf.uint8)
        self._values = tf.concat([values, tf.zeros([1], tf.uint8)], axis=0)

    def byte(self, at: tf.Tensor | int) -> tf.Tensor:
        """Return the bytes at some places, int64 of the same shape."""
        at = tf.convert_to_tensor(at, tf.int64)
        inside = (at >= 0) & (at < self.length)
        return tf.cast(tf.gather(self._values, tf.where(inside, at, self.length)), tf.int64)

    def number(self, at: tf.Tensor | int, size: int, order: str | tf.Tensor) -> tf.Tensor:
        """Return unsigned numbers of some bytes; a tensor as `order` tells whether it is little."""
        at = tf.convert_to_tensor(at, tf.int64)
        found = self.byte(at[..., tf.newaxis] + tf.range(size, dtype=tf.int64))
        little = tf.constant([256**place for place in range(size)], tf.int64)
        big = tf.reverse(little, [0])
        if isinstance(order, str):
            return tf.reduce_sum(found * (little if order == _SMALL else big), axis=-1)
        return tf.reduce_sum(found * tf.where(order, little, big), axis=-1)

    def holds(self, at: tf.Tensor | int, text: bytes) -> tf.Tensor:
        """Tell whether these bytes stand at a place, scalar bool."""
        places = tf.convert_to_tensor(at, tf.int64) + tf.range(len(text), dtype=tf.int64)
        return tf.reduce_all(self.byte(places) == tf.constant(list(text), tf.int64))

    def part(self, start: tf.Tensor | int, stop: tf.Tensor) -> tf.Tensor:
        """Return the text from one place to before another, cut at the end; scalar string."""
        start = tf.minimum(tf.convert_to_tensor(start, tf.int64), self.length)
        stop = tf.clip_by_value(tf.convert_to_tensor(stop, tf.int64), start, self.length)
        return tf.strings.substr(self.data, start, stop - start)


class Header(NamedTuple):
    """What is known of a file before it is decoded; each a scalar tensor, or a vector of a batch.

    Attributes:
        kind: int32, its format: JPEG, PNG, ..., or UNKNOWN.
        height: int64, of the picture as it is stored.
        width: int64.
        orientation: int32 1..8, the EXIF orientation; 1 if there is none.
        reason: string, why it cannot be decoded; "" if it may be.
    """

    kind: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    orientation: tf.Tensor
    reason: tf.Tensor


def read_header(data: tf.Tensor, max_pixels: int) -> Header:
    """Read format, size and orientation of one file.

    Args:
        data: Scalar string, the bytes.
        max_pixels: Height times width from which on a picture is refused.

    Returns:
        The header.
    """
    file = FileBytes(data)
    kind = _kind(file)
    readers = [_jpeg, _png, _gif, _bmp, _webp]
    height, width, exif = tf.switch_case(
        kind,
        [lambda read=read: read(file) for read in readers],
        default=lambda: (_none(), _none(), _none(-1)),
    )
    orientation = tf.cond(exif >= 0, lambda: _exif_orientation(file, exif), lambda: tf.constant(1))
    reason = _reason(file, kind, height, width, max_pixels)
    return Header(kind, height, width, orientation, reason)


def _none(value: int = 0) -> tf.Tensor:
    return tf.constant(value, tf.int64)


def _kind(file: FileBytes) -> tf.Tensor:
    """The format by the first bytes, int32."""
    signs = (
        (JPEG, file.holds(0, b"\xff\xd8\xff")),
        (PNG, file.holds(0, _PNG_SIGNATURE)),
        (GIF, file.holds(0, b"GIF87a") | file.holds(0, b"GIF89a")),
        (BMP, file.holds(0, b"BM")),
        (WEBP, file.holds(0, b"RIFF") & file.holds(8, b"WEBP")),
    )
    kind = tf.constant(UNKNOWN)
    for number, is_this in signs:
        kind = tf.where(is_this, number, kind)
    return kind


def _reason(
    file: FileBytes, kind: tf.Tensor, height: tf.Tensor, width: tf.Tensor, max_pixels: int
) -> tf.Tensor:
    """Why a file cannot be decoded, as far as its header tells; "" if it may be."""
    text = tf.strings.as_string
    large = tf.strings.join(
        ["too large: ", text(width), " x ", text(height),
         f" pixels, more than the limit of {max_pixels:,}"]
    )  # fmt: skip
    packed = file.number(30, 4, _SMALL)
    is_packed = (kind == BMP) & (file.number(14, 4, _SMALL) != 12) & (packed != 0) & (packed != 3)
    is_tiff = file.holds(0, b"II*\0") | file.holds(0, b"MM\0*")
    other = tf.where(is_tiff, "a TIFF file", "not an image, or of another format")
    other = tf.strings.join([other, f"; this model reads {FORMATS}"])
    rules = (
        (is_packed, "a compressed BMP file; save it without compression"),
        (height * width > max_pixels, large),
        (height * width == 0, "damaged: no size in its header"),
        (kind == UNKNOWN, other),
        (file.length == 0, "empty: 0 bytes"),
    )
    reason = tf.constant("")
    for broken, words in rules:
        reason = tf.where(broken, words, reason)
    return reason


def _jpeg(file: FileBytes) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Height, width and the place of the EXIF block: the markers up to the first scan."""

    def step(
        at: tf.Tensor, height: tf.Tensor, width: tf.Tensor, exif: tf.Tensor, going: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        marker, length = file.byte(at + 1), file.number(at + 2, 2, _BIG)
        fill = marker == 0xFF
        alone = (marker == 0x01) | ((marker >= 0xD0) & (marker <= 0xD8))
        is_frame = (marker >= 0xC0) & (marker <= 0xCF)
        for other in (0xC4, 0xC8, 0xCC):  # tables, not frames
            is_frame &= marker != other
        height = tf.where(is_frame, file.number(at + 5, 2, _BIG), height)
        width = tf.where(is_frame, file.number(at + 7, 2, _BIG), width)
        is_exif = (marker == 0xE1) & (exif < 0) & file.holds(at + 4, _EXIF)
        exif = tf.where(is_exif, at + 4, exif)
        ends = (file.byte(at) != 0xFF) | (marker == 0xDA) | (marker == 0xD9)
        following = at + tf.where(fill, _none(1), tf.where(alone, _none(2), 2 + length))
        return following, height, width, exif, ~ends & (following < file.length)

    start = (_none(2), _none(), _none(), _none(-1), file.length > 4)
    _, height, width, exif, _ = tf.while_loop(lambda *state: state[-1], step, start)
    return height, width, exif


def _png(file: FileBytes) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    size = file.number([16, 20], 4, _BIG)
    return size[1], size[0], png_chunk(file, b"eXIf")


def png_chunk(file: FileBytes, name: bytes) -> tf.Tensor:
    """Return where the content of a PNG's chunk begins, int64; -1 if there is none.

    Args:
        file: The file.
        name: The chunk's four letters.
    """

    def step(at: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        found = tf.where(file.holds(at + 4, name), at + 8, found)
        return at + 12 + file.number(at, 4, _BIG), found

    _, found = tf.while_loop(
        lambda at, found: (at + 8 <= file.length) & (found < 0), step, (_none(8), _none(-1))
    )
    return found


def _gif(file: FileBytes) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    size = file.number([6, 8], 2, _SMALL)
    return size[1], size[0], _none(-1)


def _bmp(file: FileBytes) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    old = file.number(14, 4, _SMALL) == 12
    height = file.number(22, 4, _SMALL)
    height = tf.where(height >= 2**31, 2**32 - height, height)  # stored from the top
    height = tf.where(old, file.number(20, 2, _SMALL), height)
    width = tf.where(old, file.number(18, 2, _SMALL), file.number(18, 4, _SMALL))
    return height, width, _none(-1)


def _webp(file: FileBytes) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    lossy = file.number([28, 26], 2, _SMALL) % 2**14
    bits = file.number(21, 4, _SMALL)
    lossless = 1 + tf.stack([bits // 2**14 % 2**14, bits % 2**14])
    canvas = 1 + file.number([27, 24], 3, _SMALL)
    size = tf.where(file.holds(12, b"VP8X"), canvas, lossy)
    size = tf.where(file.holds(12, b"VP8L"), lossless, size)

    def step(at: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        length = file.number(at + 4, 4, _SMALL)
        found = tf.where(file.holds(at, b"EXIF"), at + 8, found)
        return at + 8 + length + length % 2, found

    _, exif = tf.while_loop(
        lambda at, found: (at + 8 <= file.length) & (found < 0), step, (_none(12), _none(-1))
    )
    return size[0], size[1], exif


def _exif_orientation(file: FileBytes, start: tf.Tensor) -> tf.Tensor:
    """The orientation an EXIF block tells, in either byte order, int32; 1 if it tells none."""
    start = tf.where(file.holds(start, _EXIF), start + len(_EXIF), start)
    little = file.holds(start, b"II")
    valid = little | file.holds(start, b"MM")
    valid &= file.number(start + 2, 2, little) == 42
    directory = start + file.number(start + 4, 4, little)
    count = tf.where(valid, file.number(directory, 2, little), _none())
    entries = directory + 2 + 12 * tf.range(count)
    kinds, small = file.number(entries + 2, 2, little), file.number(entries + 8, 2, little)
    values = tf.where(kinds == _LONG, file.number(entries + 8, 4, little), small)
    fits = (kinds == _SHORT) | (kinds == _LONG)
    fits &= file.number(entries + 4, 4, little) == 1
    fits &= file.number(entries, 2, little) == _ORIENTATION_TAG
    found = tf.concat([[_none(1)], tf.boolean_mask(values, fits)], axis=0)[-1]
    return tf.cast(tf.where((found >= 1) & (found <= 8), found, 1), tf.int32)
