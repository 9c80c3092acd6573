"""The pixels of an image file, decoded inside a graph as training decodes them."""

from __future__ import annotations

import tensorflow as tf

from spice_keras.data.decoding import TRANSPARENCY_BACKGROUND
from spice_keras.data.levels import Range
from spice_keras.serving.file_headers import FileBytes, Header, png_chunk

_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_DRAFT_SCALES = (1, 2, 4, 8)
# Masks of red, green, blue and alpha in a BMP of 32 bits, and the bytes they lie in; -1: no alpha.
_BMP_MASKS = (
    ((0xFF0000, 0xFF00, 0xFF, 0x0), (2, 1, 0, -1)),
    ((0xFF000000, 0xFF0000, 0xFF00, 0x0), (3, 2, 1, -1)),
    ((0xFF000000, 0xFF00, 0xFF, 0x0), (3, 1, 0, -1)),
    ((0xFF000000, 0xFF0000, 0xFF00, 0xFF), (3, 2, 1, 0)),
    ((0xFF, 0xFF00, 0xFF0000, 0xFF000000), (0, 1, 2, 3)),
    ((0xFF0000, 0xFF00, 0xFF, 0xFF000000), (2, 1, 0, 3)),
    ((0xFF000000, 0xFF00, 0xFF, 0xFF0000), (3, 1, 0, 2)),
    ((0x0, 0x0, 0x0, 0x0), (2, 1, 0, 3)),
)
_BITFIELDS = 3
_WHITES = tuple(2.0**bits - 1.0 for bits in (8, 10, 12, 14, 16))


def decoded(
    data: tf.Tensor, header: Header, image_size: int, deep_range: Range | None = None
) -> tf.Tensor:
    """Decodes one image, in the graph, turned upright by its orientation.

    A JPEG much larger than the target is decoded at a half, a quarter or an eighth of its size, as
    in training.

    Args:
        data: Scalar string, the bytes of a JPEG, PNG, GIF, BMP or WebP file.
        header: What `read_header` says of it, without a reason against it.
        image_size: The side S it will be resized to, in pixels.
        deep_range: What is black and white in a PNG of 16 bits; None for the range that its largest
            value fills.

    Returns:
        uint8 RGB ``[H, W, 3]``; of an animation the first frame, transparency over white. A damaged
        file makes the operation fail.
    """
    file = FileBytes(data)
    branches = [
        lambda: _jpeg(data, header, image_size),
        lambda: _png(file, deep_range),
        lambda: _gif(file),
        lambda: _bmp(file, header),
        lambda: _webp(data),
    ]
    stored = tf.switch_case(header.kind, branches)
    return _upright(tf.ensure_shape(stored, [None, None, 3]), header.orientation)


def _long(value: int) -> tf.Tensor:
    return tf.constant(value, tf.int64)


def _upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    def turned(transposed: bool, *reversed_axes: int) -> tf.Tensor:
        result = tf.transpose(image, [1, 0, 2]) if transposed else image
        return tf.reverse(result, reversed_axes) if reversed_axes else result

    ways = [
        (False,), (False, 1), (False, 0, 1), (False, 0),
        (True,), (True, 1), (True, 0, 1), (True, 0),
    ]  # fmt: skip
    return tf.switch_case(orientation - 1, [lambda way=way: turned(*way) for way in ways])


def _jpeg(data: tf.Tensor, header: Header, image_size: int) -> tf.Tensor:
    smaller = tf.minimum(header.height, header.width) // (2 * image_size)
    place = tf.reduce_sum(tf.cast(smaller >= tf.constant([2, 4, 8], tf.int64), tf.int32))

    def decode(ratio: int) -> tf.Tensor:
        # TensorFlow's default is the fast, inexact transform; Pillow's is the accurate one.
        return tf.io.decode_jpeg(data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")

    return tf.switch_case(place, [lambda ratio=ratio: decode(ratio) for ratio in _DRAFT_SCALES])


def _png(file: FileBytes, deep_range: Range | None) -> tf.Tensor:
    whole = tf.strings.join([file.data, _PNG_END])  # Pillow reads a file without its end
    return tf.cond(
        tf.equal(file.byte(24), 16),
        lambda: over_background(_eight_bits(whole, deep_range)),
        lambda: _shallow_png(file, whole),
    )


def _eight_bits(whole: tf.Tensor, deep_range: Range | None) -> tf.Tensor:
    """A PNG of 16 bits as RGBA of eight: `spice_keras.data.deep_pixels.eight_bits` in a graph."""
    samples = tf.cast(tf.io.decode_png(whole, channels=4, dtype=tf.uint16), tf.float64)
    if deep_range is None:
        low, high = tf.constant(0.0, tf.float64), _filled(tf.reduce_max(samples[..., :3]))
    else:
        low, high = (tf.constant(side, tf.float64) for side in deep_range)
    colors = tf.clip_by_value(samples, low, high)
    # Whole numbers that fill bits lose the lower ones; other ranges are scaled and rounded.
    fills_bits = (low == 0.0) & tf.reduce_any(high == tf.constant(_WHITES, tf.float64))
    eight = tf.where(
        fills_bits,
        tf.floor(colors * 256.0 / (high + 1.0)),
        tf.round((colors - low) * 255.0 / (high - low)),
    )
    return tf.cast(eight, tf.uint8)


def _filled(largest: tf.Tensor) -> tf.Tensor:
    """The smallest white that values up to this one fit under."""
    whites = tf.constant(_WHITES, tf.float64)
    return tf.reduce_min(tf.boolean_mask(whites, whites >= largest))


def _shallow_png(file: FileBytes, whole: tf.Tensor) -> tf.Tensor:
    # TensorFlow fills alpha with 1, 3 or 15 if a pixel has 1, 2 or 4 bits and no transparency.
    opaque = (file.byte(24) < 8) & (png_chunk(file, b"tRNS") < 0)
    return tf.cond(
        opaque,
        lambda: tf.io.decode_png(whole, channels=3),
        lambda: over_background(tf.io.decode_png(whole, channels=4)),
    )


def over_background(image: tf.Tensor) -> tf.Tensor:
    """Lays transparency over the background that training saw.

    Args:
        image: uint8 RGBA ``[H, W, 4]``.

    Returns:
        uint8 RGB ``[H, W, 3]``.
    """
    color, alpha = tf.split(tf.cast(image, tf.float32), [3, 1], axis=-1)
    background = tf.constant(TRANSPARENCY_BACKGROUND, tf.float32)
    return tf.cast(tf.round(background + (color - background) * alpha / 255.0), tf.uint8)


def _webp(data: tf.Tensor) -> tf.Tensor:
    image = tf.io.decode_image(data, channels=0, expand_animations=False)
    image = tf.ensure_shape(image, [None, None, None])
    return tf.cond(
        tf.shape(image)[2] == 4,
        lambda: over_background(tf.ensure_shape(image, [None, None, 4])),
        lambda: tf.ensure_shape(image, [None, None, 3]),
    )


def _gif(file: FileBytes) -> tf.Tensor:
    """The first frame alone, its transparent colour made white before it is decoded."""
    screen_flags = file.byte(10)
    start = 13 + _palette_bytes(screen_flags)
    at, control = _gif_extensions(file, start)
    flags = file.byte(at + 9)
    own = flags >= 128
    colors = tf.where(own, at + 10, 13)
    size = _palette_bytes(tf.where(own, flags, screen_flags))
    end = _after_blocks(file, at + 11 + tf.where(own, size, 0))
    index = 3 * file.byte(control + 6)
    clear = (control >= 0) & (file.byte(control + 3) % 2 == 1) & (index < size)
    # Moved to the corner: how much of it TensorFlow would draw elsewhere differs by version.
    frame = _patched(tf.strings.join([file.part(0, end), b";"]), at + 1, b"\0\0\0\0")

    def whitened() -> tf.Tensor:
        white = _patched(frame, colors + index, bytes(TRANSPARENCY_BACKGROUND))
        return _patched(white, control + 3, b"\0")

    data = tf.cond(clear, whitened, lambda: frame)
    image = tf.io.decode_image(data, channels=3, expand_animations=False)
    # What lies outside the frame: transparent, or the first colour.
    first = tf.cast(file.byte(colors + tf.range(3, dtype=tf.int64)), tf.uint8)
    beside = tf.where(clear, tf.constant(TRANSPARENCY_BACKGROUND, tf.uint8), first)
    return _on_canvas(file, tf.ensure_shape(image, [None, None, 3]), at, beside)


def _on_canvas(file: FileBytes, frame: tf.Tensor, at: tf.Tensor, beside: tf.Tensor) -> tf.Tensor:
    """A GIF's frame where its descriptor says, on a canvas of one colour."""
    places = at + tf.constant([1, 3, 5, 7], tf.int64)
    left, top, width, height = tf.unstack(file.number(places, 2, "little"))
    size = file.number(tf.constant([8, 6], tf.int64), 2, "little")
    below, right = tf.unstack(tf.maximum(size - tf.stack([top + height, left + width]), 0))
    around = tf.stack([tf.stack([top, below]), tf.stack([left, right]), tf.zeros_like(size)])
    placed = tf.pad(frame[:height, :width], around)[: size[0], : size[1]]
    rows = tf.range(size[0])[:, tf.newaxis, tf.newaxis]
    columns = tf.range(size[1])[tf.newaxis, :, tf.newaxis]
    inside = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    return tf.where(inside, placed, beside)


def _palette_bytes(flags: tf.Tensor) -> tf.Tensor:
    return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(tf.ones_like(flags), flags % 8 + 1), 0)


def _gif_extensions(file: FileBytes, start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where the first picture begins, and its graphic control extension; -9 if it has none."""

    def step(at: tf.Tensor, control: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        control = tf.where(file.byte(at + 1) == 0xF9, at, control)
        return _after_blocks(file, at + 2), control

    return tf.while_loop(lambda at, _: file.byte(at) == 0x21, step, (start, _long(-9)))


def _after_blocks(file: FileBytes, at: tf.Tensor) -> tf.Tensor:
    """The place after a chain of sub-blocks, each led by its length."""
    (end,) = tf.while_loop(
        lambda at: file.byte(at) > 0, lambda at: (at + 1 + file.byte(at),), (at,)
    )
    return end + 1


def _patched(data: tf.Tensor, at: tf.Tensor, text: bytes) -> tf.Tensor:
    rest = at + len(text)
    size = tf.cast(tf.strings.length(data), tf.int64)
    after = tf.strings.substr(data, rest, size - rest)
    return tf.strings.join([tf.strings.substr(data, tf.zeros_like(at), at), text, after])


def _bmp(file: FileBytes, header: Header) -> tf.Tensor:
    """A BMP of 1, 4, 8, 16, 24 or 32 bits, not compressed."""
    number = file.number
    head, old = number(14, 4, "little"), number(14, 4, "little") == 12
    bits = tf.where(old, number(24, 2, "little"), number(28, 2, "little"))
    packing = tf.where(old, _long(0), number(30, 4, "little"))
    colors = tf.where(old, _long(0), number(46, 4, "little"))
    colors = tf.where(colors == 0, tf.bitwise.left_shift(tf.ones_like(bits), bits % 32), colors)
    entry = tf.where(old, _long(3), 4)
    start = number(10, 4, "little")
    start += tf.where((start == 14 + head) & (bits <= 8), entry * colors, 0)
    stride = (header.width * bits + 31) // 32 * 4
    last = start + stride * (header.height - 1) + (header.width * bits + 7) // 8
    checks = [
        tf.debugging.assert_equal(tf.reduce_any(bits == [1, 4, 8, 16, 24, 32]), True),
        tf.debugging.assert_less_equal(last, file.length),
    ]
    with tf.control_dependencies(checks):
        rows = tf.range(header.height)
    from_top = ~old & (file.byte(25) == 0xFF)
    rows = tf.where(from_top, rows, header.height - 1 - rows)[:, tf.newaxis] * stride + start
    columns = tf.range(header.width) * bits
    place = tf.cast(tf.reduce_sum(tf.cast(bits > [8, 16, 24], tf.int32)), tf.int32)
    branches = [
        lambda: _indexed(file, rows, columns, bits, (14 + head, entry)),
        lambda: _sixteen(file, rows + columns // 8, packing),
        lambda: _colors(file, rows + columns // 8, (2, 1, 0)),
        lambda: _thirty_two(file, rows + columns // 8, packing, head),
    ]
    return tf.switch_case(place, branches)


def _colors(file: FileBytes, places: tf.Tensor, order: tuple[int, ...]) -> tf.Tensor:
    """Bytes at offsets of each pixel, uint8 [H, W, C]."""
    offsets = tf.constant(order, tf.int64)
    return tf.cast(file.byte(places[..., tf.newaxis] + offsets), tf.uint8)


def _indexed(
    file: FileBytes,
    rows: tf.Tensor,
    columns: tf.Tensor,
    bits: tf.Tensor,
    palette: tuple[tf.Tensor, tf.Tensor],
) -> tf.Tensor:
    start, entry = palette
    shift = 8 - bits - columns % 8
    values = tf.bitwise.right_shift(file.byte(rows + columns // 8), shift)
    index = values % tf.bitwise.left_shift(tf.ones_like(bits), bits)
    return _colors(file, start + entry * index, (2, 1, 0))


def _sixteen(file: FileBytes, places: tf.Tensor, packing: tf.Tensor) -> tf.Tensor:
    values = file.number(places, 2, "little")
    masks = file.number([54, 58, 62], 4, "little")
    wide = tf.reduce_all(masks == [0xF800, 0x7E0, 0x1F])
    narrow = tf.reduce_all(masks == [0x7C00, 0x3E0, 0x1F])
    known = tf.debugging.assert_equal((packing != _BITFIELDS) | wide | narrow, True)
    with tf.control_dependencies([known]):
        six = wide & (packing == _BITFIELDS)
    green = tf.where(six, values // 32 % 64 * 255 // 63, values // 32 % 32 * 255 // 31)
    red = tf.where(six, values // 2048, values // 1024) % 32 * 255 // 31
    return tf.cast(tf.stack([red, green, values % 32 * 255 // 31], axis=-1), tf.uint8)


def _thirty_two(
    file: FileBytes, places: tf.Tensor, packing: tf.Tensor, head: tf.Tensor
) -> tf.Tensor:
    found = file.number([54, 58, 62, 66], 4, "little")
    found = tf.where(head >= 56, found, found * tf.constant([1, 1, 1, 0], tf.int64))
    masks = tf.constant([masks for masks, _ in _BMP_MASKS], tf.int64)
    orders = tf.constant([order for _, order in _BMP_MASKS], tf.int64)
    matches = tf.reduce_all(masks == found, axis=1)
    plain = packing != _BITFIELDS
    known = tf.debugging.assert_equal(plain | tf.reduce_any(matches), True)
    with tf.control_dependencies([known]):
        row = tf.where(plain, _long(0), tf.argmax(tf.cast(matches, tf.int32)))
    order = orders[row]
    values = file.byte(places[..., tf.newaxis] + tf.maximum(order, 0))
    opaque = tf.constant([0, 0, 0, 255], tf.int64)
    return over_background(tf.cast(tf.where(order < 0, opaque, values), tf.uint8))
