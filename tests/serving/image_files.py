"""Image files of every format that training reads, drawn here; and what is wrong with some."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 37, 50
MAX_PIXELS = 1_000_000
TIFF_REASON = "a TIFF file"
OTHER_REASON = "not an image, or of another format"


def picture(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> Image.Image:
    """A smooth picture: coarse noise, enlarged."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    """The file of an image."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def oriented(orientation: int, byte_order: str, file_format: str = "JPEG") -> bytes:
    """A photograph whose EXIF block says how it was held."""
    exif = Image.Exif()
    exif.endian = byte_order
    exif[0x0112] = orientation
    exif[0x010F] = "a camera"
    options = {"lossless": True} if file_format == "WEBP" else {}
    return encoded(picture(), file_format, exif=exif.tobytes(), **options)


def _clear() -> Image.Image:
    """The picture, more and more transparent."""
    alpha = np.linspace(0, 255, HEIGHT * WIDTH).astype(np.uint8).reshape(HEIGHT, WIDTH, 1)
    return Image.fromarray(np.concatenate([np.asarray(picture()), alpha], axis=2))


def _chunk(tag: bytes, data: bytes) -> bytes:
    body = tag + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def low_bit_png(bits: int, *, palette: bool, transparency: bool = False) -> bytes:
    """A PNG of 1, 2, 4 or 8 bits a pixel, grey or with a palette."""
    index = np.tile(np.arange(64) * 2**bits // 64, (64, 1))
    rows = b"".join(
        b"\0" + int("".join(f"{value:0{bits}b}" for value in row), 2).to_bytes(8 * bits, "big")
        for row in index
    )
    head = struct.pack(">IIBBBBB", 64, 64, bits, 3 if palette else 0, 0, 0, 0)
    colors = np.random.default_rng(bits).integers(0, 256, 3 * 2**bits, np.uint8).tobytes()
    parts = [_chunk(b"IHDR", head)]
    if palette:
        parts.append(_chunk(b"PLTE", colors))
    if transparency:
        parts.append(_chunk(b"tRNS", b"\x80\x00" if palette else b"\0\1"))
    parts += [_chunk(b"IDAT", zlib.compress(rows)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def bmp(
    bits: int, *, packing: int = 0, masks: tuple[int, ...] = (), top_down: bool = False
) -> bytes:
    """A BMP of random pixels; with a palette if it has 1, 4 or 8 bits."""
    rng = np.random.default_rng(bits)
    stride = (WIDTH * bits + 31) // 32 * 4
    pixels = rng.integers(0, 256, stride * HEIGHT, np.uint8).tobytes()
    if packing == 1:  # each row a run of one colour, then its end; then the end of all
        pixels = b"".join(bytes([WIDTH, row, 0, 0]) for row in range(HEIGHT)) + b"\0\1"
    palette = rng.integers(0, 256, 4 * 2**bits, np.uint8).tobytes() if bits <= 8 else b""
    fields = struct.pack(f"<{len(masks)}I", *masks)
    height = -HEIGHT if top_down else HEIGHT
    head = struct.pack(
        "<IiiHHIIiiII", 40, WIDTH, height, 1, bits, packing, len(pixels), 0, 0, 0, 0
    )  # fmt: skip
    start = 14 + len(head) + len(fields) + len(palette)
    opening = b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    return opening + head + fields + palette + pixels


def os2_bmp() -> bytes:
    """A BMP of 4 bits with the old header of 12 bytes."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (WIDTH * 4 + 31) // 32 * 4 * HEIGHT, np.uint8).tobytes()
    palette = rng.integers(0, 256, 48, np.uint8).tobytes()
    head = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 4)
    start = 26 + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + head + palette + pixels


def small_frame_gif(*, clear: bool) -> bytes:
    """A GIF whose first frame covers a part of the canvas."""
    frame = picture(20, 30).quantize(8)
    data = encoded(frame, "GIF", **({"transparency": 3} if clear else {}))
    # The logical screen is made larger, and the frame moved into it.
    data = data[:6] + struct.pack("<HH", WIDTH, HEIGHT) + data[10:]
    at = data.index(b"\x2c\0\0\0\0" + struct.pack("<HH", 30, 20))
    return data[: at + 1] + struct.pack("<HH", 7, 9) + data[at + 5 :]


def deep_png(channels: int, top: int) -> bytes:
    """A PNG of 16 bits a sample whose values end at `top`; 2 and 4 channels end with alpha."""
    values = np.random.default_rng(channels).integers(0, top + 1, (HEIGHT, WIDTH, channels))
    values[0, 0] = top
    rows = values.astype(">u2").reshape(HEIGHT, -1).view(np.uint8)
    filtered = np.concatenate([np.zeros((HEIGHT, 1), np.uint8), rows], axis=1)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, kind, 0, 0, 0)
    parts = [_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(filtered.tobytes()))]
    parts.append(_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _files() -> dict[str, tuple[bytes, int]]:
    """Files that both doors read, and the most grey levels by which they differ at 16 pixels."""
    image, clear = picture(), _clear()
    grey16 = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 35).astype(np.uint16)
    animated = {"save_all": True, "append_images": [clear.rotate(90)]}
    found = {
        "JPEG": encoded(image, "JPEG"),
        "JPEG, grey": encoded(image.convert("L"), "JPEG"),
        "JPEG, progressive": encoded(image, "JPEG", progressive=True),
        "JPEG, CMYK": encoded(image.convert("CMYK"), "JPEG"),
        "JPEG, halved": encoded(picture(97, 133), "JPEG"),
        "JPEG, quartered": encoded(picture(207, 190), "JPEG"),
        "JPEG, an eighth": encoded(picture(370, 500), "JPEG"),
        "PNG": encoded(image, "PNG"),
        "PNG, RGBA": encoded(clear, "PNG"),
        "PNG, grey": encoded(image.convert("L"), "PNG"),
        "PNG, grey with alpha": encoded(clear.convert("LA"), "PNG"),
        "PNG, 16 bits": encoded(Image.fromarray(grey16), "PNG"),
        "PNG, without IEND": encoded(image, "PNG")[:-12],
        "PNG, 2 bits, transparent": low_bit_png(2, palette=True, transparency=True),
        "GIF": encoded(image.quantize(64), "GIF"),
        "GIF, transparent": encoded(image.quantize(16), "GIF", transparency=3),
        "GIF, half clear": encoded(clear, "GIF"),
        "GIF, animated": encoded(clear, "GIF", **animated),
        "GIF, small first frame": small_frame_gif(clear=False),
        "GIF, small clear frame": small_frame_gif(clear=True),
        "BMP, 24 bits": encoded(image, "BMP"),
        "BMP, 8 bits": encoded(image.quantize(200), "BMP"),
        "BMP, grey": encoded(image.convert("L"), "BMP"),
        "BMP, black and white": encoded(image.convert("1"), "BMP"),
        "BMP, 32 bits with alpha": encoded(clear, "BMP"),
        "BMP, 1 bit": bmp(1),
        "BMP, 4 bits": bmp(4),
        "BMP, 16 bits": bmp(16),
        "BMP, 16 bits, 565": bmp(16, packing=3, masks=(0xF800, 0x7E0, 0x1F)),
        "BMP, from the top": bmp(24, top_down=True),
        "BMP, 32 bits, other order": bmp(32, packing=3, masks=(0xFF000000, 0xFF0000, 0xFF00)),
        "BMP, OS/2": os2_bmp(),
        "WebP": encoded(image, "WEBP", quality=90),
        "WebP, lossless": encoded(image, "WEBP", lossless=True),
        "WebP, alpha": encoded(clear, "WEBP", lossless=True),
        "WebP, lossy alpha": encoded(clear, "WEBP", quality=80),
        "WebP, animated": encoded(clear, "WEBP", lossless=True, **animated),
        "PNG, EXIF orientation": oriented(6, ">", "PNG"),
        "WebP, EXIF orientation": oriented(6, "<", "WEBP"),
    }
    for bits in (1, 2, 4, 8):
        found[f"PNG, {bits} bits, grey"] = low_bit_png(bits, palette=False)
        found[f"PNG, {bits} bits, palette"] = low_bit_png(bits, palette=True)
    for channels in range(1, 5):
        for top in (200, 1000, 4095, 16000, 65535):
            found[f"PNG, 16 bits, {channels} channels up to {top}"] = deep_png(channels, top)
    return {name: (data, 1) for name, data in found.items()}


FILES = _files()

REFUSED = {
    "TIFF": (encoded(picture(), "TIFF"), TIFF_REASON),
    "PPM": (encoded(picture(), "PPM"), OTHER_REASON),
    "BMP, run lengths": (bmp(8, packing=1), "a compressed BMP file"),
}
"""Files that training reads and a graph refuses, and how the reason begins."""

BROKEN = {
    "nothing": (b"", "empty: 0 bytes"),
    "text": (b"hello", OTHER_REASON),
    "JPEG, cut short": (encoded(picture(), "JPEG")[:500], "damaged"),
    "JPEG, three bytes": (b"\xff\xd8\xff", "damaged"),
    "PNG, cut short": (encoded(picture(), "PNG")[:500], "damaged"),
    "GIF, cut short": (encoded(picture().quantize(64), "GIF")[:500], "damaged"),
    "BMP, cut short": (encoded(picture(), "BMP")[:-10], "damaged"),
    "WebP, cut short": (encoded(picture(), "WEBP")[:100], "damaged"),
    "PNG, too large": (encoded(Image.new("RGB", (1001, 1000)), "PNG"), "too large: 1001 x 1000"),
}
"""Files that no door reads, and how the reason begins."""
