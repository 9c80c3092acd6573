from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from spice_keras.data.decoding import UndecodableImage, decode_image, resize_image
from spice_keras.data.levels import KnownLevels

LIMIT = 4_000_000


def gradient(height: int, width: int) -> np.ndarray:
    """Smooth RGB, different in every corner, kind to lossy formats."""
    y = np.linspace(0, 255, height)[:, None] * np.ones((1, width))
    x = np.linspace(0, 255, width)[None, :] * np.ones((height, 1))
    return np.stack([y, x, 255 - y], axis=-1).round().astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes | Path, size: int = 16, **options: Any) -> np.ndarray:
    image = decode_image(data, **{"image_size": size, "max_pixels": LIMIT, **options})
    assert image.dtype == np.uint8
    assert image.shape == (size, size, 3)
    assert image.flags["C_CONTIGUOUS"]
    return image


def png_header_only(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + b"\0" * 4


# --- the usual formats -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "tolerance"), [("PNG", 0), ("BMP", 0), ("TIFF", 0), ("PPM", 0), ("JPEG", 20)]
)
def test_formats_give_the_pixels(kind: str, tolerance: int) -> None:
    pixels = gradient(16, 16)
    data = encoded(Image.fromarray(pixels), kind)
    assert np.abs(decoded(data).astype(int) - pixels).max() <= tolerance


def test_lossless_webp() -> None:
    pixels = gradient(16, 16)
    data = encoded(Image.fromarray(pixels), "WEBP", lossless=True)
    np.testing.assert_array_equal(decoded(data), pixels)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame(kind: str) -> None:
    red, blue = (Image.new("RGB", (16, 16), name) for name in ("#ff0000", "#0000ff"))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(red, kind, save_all=True, append_images=[blue], duration=50, **options)
    assert (decoded(data) == [255, 0, 0]).all()


# --- modes -----------------------------------------------------------------------------------


def test_one_bit_and_grey() -> None:
    assert (decoded(encoded(Image.new("1", (5, 5), 1), "PNG")) == 255).all()
    assert (decoded(encoded(Image.new("L", (5, 5), 77), "PNG")) == 77).all()


@pytest.mark.parametrize("alpha", [0, 128, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_white(mode: str, alpha: int) -> None:
    color = (40, 40, 40, alpha) if mode == "RGBA" else (40, alpha)
    image = decoded(encoded(Image.new(mode, (5, 5), color), "PNG"))
    expected = 40 * alpha / 255 + 255 * (255 - alpha) / 255
    assert np.abs(image - expected).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_with_and_without_transparency(kind: str) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    assert (decoded(encoded(image, kind)) == [200, 100, 50]).all()
    assert (decoded(encoded(image, kind, transparency=1)) == 255).all()
    assert (decoded(encoded(image, kind, transparency=0)) == [200, 100, 50]).all()


def test_palette_with_transparency_for_each_entry() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    data = encoded(image, "PNG", transparency=bytes([255, 0]))
    assert (decoded(data) == 255).all()


def test_palette_with_alpha_mode() -> None:
    layer = Image.new("PA", (8, 8))
    layer.putpalette([0, 0, 0, 200, 100, 50])
    data = encoded(layer.convert("LA"), "PNG")
    assert (decoded(data) == 255).all()


def test_grey_and_rgb_png_with_a_transparent_color() -> None:
    grey = encoded(Image.new("L", (4, 4), 9), "PNG", transparency=9)
    rgb = encoded(Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert (decoded(grey) == 255).all()
    assert (decoded(rgb) == 255).all()


def test_cmyk_and_ycck_jpeg() -> None:
    # Cyan ink alone: no red, all green and blue.
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    assert np.abs(decoded(encoded(image, "JPEG")).astype(int) - [0, 255, 255]).max() <= 4
    # Adobe's transform byte 2 turns the same file into YCCK; Pillow writes it as 0.
    data = encoded(image, "JPEG")
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    decoded(data[:at] + b"\x02" + data[at + 1 :])


@pytest.mark.parametrize("value", [0, 255, 256, 30_000, 65_535])
@pytest.mark.parametrize(
    ("mode", "kind"), [("I;16", "PNG"), ("I;16", "TIFF"), ("I;16B", "TIFF"), ("I", "TIFF")]
)
def test_sixteen_full_bits_are_divided_by_256(mode: str, kind: str, value: int) -> None:
    dtype = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]
    raw = np.full((6, 6), value, dtype).tobytes()
    image = Image.frombytes(mode, (6, 6), raw)
    sixteen = KnownLevels((0.0, 65535.0))
    assert (decoded(encoded(image, kind), levels=sixteen) == value // 256).all()


def test_sixteen_bits_pgm() -> None:
    data = b"P5 2 2 65535\n" + np.full(4, 30_000, ">u2").tobytes()
    assert (decoded(data) == 30_000 // 256).all()


@pytest.mark.parametrize("value", [-1, 65_536])
def test_integers_beyond_sixteen_bits_are_refused(value: int) -> None:
    image = Image.fromarray(np.full((6, 6), value, np.int32))
    with pytest.raises(UndecodableImage, match=r"outside 0\.\.65535"):
        decoded(encoded(image, "TIFF"))


def test_floats_in_zero_to_one() -> None:
    image = Image.fromarray(np.full((6, 6), 0.5, np.float32))
    assert (decoded(encoded(image, "TIFF")) == 128).all()


@pytest.mark.parametrize("value", [-0.1, 1.5, np.nan, np.inf])
def test_other_floats_are_refused(value: float) -> None:
    image = Image.fromarray(np.full((6, 6), value, np.float32))
    with pytest.raises(UndecodableImage, match=r"outside 0\.\.1"):
        decoded(encoded(image, "TIFF"))


def test_multi_picture_jpeg_gives_its_first_picture() -> None:
    red, blue = (Image.new("RGB", (16, 16), name) for name in ("#ff0000", "#0000ff"))
    data = encoded(red, "MPO", save_all=True, append_images=[blue])
    assert np.abs(decoded(data).astype(int) - [255, 0, 0]).max() <= 2


# --- orientation -----------------------------------------------------------------------------


def with_orientation(pixels: np.ndarray, value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return encoded(Image.fromarray(pixels), "PNG", exif=exif)


@pytest.mark.parametrize(
    ("value", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda a: np.rot90(a)),
        (0, lambda a: a),
        (99, lambda a: a),
    ],
)
def test_exif_orientation(value: int, upright: Any) -> None:
    pixels = gradient(16, 16)
    np.testing.assert_array_equal(decoded(with_orientation(pixels, value)), upright(pixels))


def test_orientation_comes_before_the_crop() -> None:
    # 3 x 2: an odd margin, so cropping before turning would keep the other columns.
    pixels = gradient(3, 2)
    expected = resize_image(np.rot90(pixels, -1), 2)
    np.testing.assert_array_equal(decoded(with_orientation(pixels, 6), size=2), expected)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x09",
    ],
)
def test_malformed_exif_does_not_matter(exif: bytes) -> None:
    pixels = gradient(16, 16)
    plain = encoded(Image.fromarray(pixels), "JPEG")
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
    np.testing.assert_array_equal(decoded(data), decoded(plain))


# --- sizes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_extreme_shapes(shape: tuple[int, int], fit: str) -> None:
    decoded(encoded(Image.fromarray(gradient(*shape)), "PNG"), fit=fit)


def test_crop_keeps_the_middle_and_stretch_everything() -> None:
    pixels = np.zeros((4, 12, 3), np.uint8)
    pixels[:, 4:8] = 255
    data = encoded(Image.fromarray(pixels), "PNG")
    assert (decoded(data, size=4, fit="crop") == 255).all()
    stretched = decoded(data, size=6, fit="stretch")
    assert stretched[:, 0].max() < 128 < stretched[:, 2].min()


def test_large_jpeg_is_decoded_small(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = gradient(1600, 1200)
    data = encoded(Image.fromarray(pixels), "JPEG", quality=95)
    seen: list[tuple[int, int]] = []
    crop = Image.Image.crop

    def spy(image: Image.Image, *args: Any, **options: Any) -> Image.Image:
        seen.append(image.size)
        return crop(image, *args, **options)

    monkeypatch.setattr(Image.Image, "crop", spy)
    image = decoded(data, size=32)
    assert max(seen) <= (300, 400)
    assert np.abs(image.astype(int) - resize_image(pixels, 32)).max() <= 3


def test_pixel_limit_is_read_from_the_header() -> None:
    with pytest.raises(UndecodableImage, match=r"too large: 2001 x 2000 .* 4,000,000"):
        decoded(png_header_only(2001, 2000))


def test_pixel_limit_is_inclusive() -> None:
    data = encoded(Image.fromarray(gradient(8, 8)), "PNG")
    decoded(data, max_pixels=64)
    with pytest.raises(UndecodableImage, match="too large"):
        decoded(data, max_pixels=63)


@pytest.mark.parametrize("side", [10_000, 15_000, 60_000])
@pytest.mark.parametrize("limit", [LIMIT, 10**12])
def test_bombs_neither_warn_nor_explode(side: int, limit: int) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(UndecodableImage):
            decoded(png_header_only(side, side), max_pixels=limit)
    assert not caught


# --- bad files -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_truncated(kind: str) -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    decoded(data)
    for share in (0.05, 0.5):
        with pytest.raises(UndecodableImage):
            decoded(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty: 0 bytes"),
        (b"just some text\n", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "not an image|damaged"),
        (b"\xff\xd8\xff", "not an image|damaged"),
        (b"GIF89a", "not an image|damaged"),
    ],
)
def test_what_is_no_image(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(UndecodableImage, match=reason):
            decoded(source)


@given(data=st.binary(max_size=80), where=st.integers(0, 10_000), kind=st.sampled_from("JPGW"))
@settings(max_examples=150)
def test_any_damage_gives_an_image_or_a_reason(data: bytes, where: int, kind: str) -> None:
    name = {"J": "JPEG", "P": "PNG", "G": "GIF", "W": "WEBP"}[kind]
    whole = encoded(Image.fromarray(gradient(24, 24)), name)
    at = where % len(whole)
    reason = "none"
    try:
        decoded(whole[:at] + data + whole[at + len(data) :])
    except UndecodableImage as error:
        reason = str(error)
    assert reason.splitlines() == [reason]


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "circle.jpg").symlink_to(tmp_path / "circle.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    reasons = {}
    for name in ("folder.jpg", "broken.jpg", "circle.jpg", "pipe.jpg"):
        with pytest.raises(UndecodableImage) as raised:
            decoded(tmp_path / name)
        reasons[name] = str(raised.value)
    assert reasons == {
        "folder.jpg": "not a regular file",
        "broken.jpg": "no such file, or a broken symbolic link",
        "circle.jpg": "cannot be read: Too many levels of symbolic links",
        "pipe.jpg": "not a regular file",
    }


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(encoded(Image.new("L", (3, 3)), "PNG"))

    # Tests may run as root, whom no mode keeps out.
    def refuse(*args: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UndecodableImage, match="no permission"):
        decoded(path)


# --- arrays and arguments --------------------------------------------------------------------


def test_resize_of_every_shape() -> None:
    grey = gradient(6, 9)[:, :, 0]
    reference = resize_image(np.stack([grey] * 3, axis=-1), 4)
    np.testing.assert_array_equal(resize_image(grey, 4), reference)
    np.testing.assert_array_equal(resize_image(grey[:, :, None], 4), reference)
    opaque = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    np.testing.assert_array_equal(resize_image(opaque, 4), reference)
    np.testing.assert_array_equal(resize_image(grey.T[::-1].T, 4, "stretch").shape, (4, 4, 3))


def test_resize_is_antialiased() -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resize_image(stripes, 8).astype(int) - 127).max() <= 6


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((4, 4, 3, 1), np.uint8),
    ],
)
def test_resize_refuses(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Received: "):
        resize_image(array, 4)


def test_wrong_arguments_are_no_bad_files() -> None:
    data = encoded(Image.new("L", (3, 3)), "PNG")
    with pytest.raises(ValueError, match="fit='squash'"):
        decode_image(data, image_size=4, fit="squash", max_pixels=9)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="image_size=0"):
        decode_image(data, image_size=0, max_pixels=9)
