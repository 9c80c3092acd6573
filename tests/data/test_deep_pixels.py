"""Pictures of more than eight bits a sample: right values, whatever bits they fill."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spice_keras.data.decoding import UndecodableImage, decode_image
from spice_keras.data.deep_pixels import eight_bits
from spice_keras.data.folder_source import FolderSource
from spice_keras.data.levels import Extent, KnownLevels
from spice_keras.data.parted_source import Part, PartedSource
from spice_keras.data.sources import Decoded
from tests.data.tiff_files import tiff

SIDE = 64
FULL = np.tile(np.linspace(0, 65535, SIDE).astype(np.uint16), (SIDE, 1))
GREY = (FULL >> 8).astype(np.uint8)
# Three different channels, none of them the others' mirror image.
COLORS = np.dstack([FULL, FULL.T, FULL[::-1, ::-1] // 3])
EIGHT = (COLORS >> 8).astype(np.uint8)


def decoded(data: bytes | Path, **options: object) -> np.ndarray:
    return decode_image(data, image_size=SIDE, max_pixels=10**8, **options)  # type: ignore[arg-type]


def png(samples: np.ndarray) -> bytes:
    """A PNG of 16 bits: grey, grey and alpha, RGB or RGBA."""
    height, width, channels = samples.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    body = b""
    for tag, data in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        body += struct.pack(">I", len(data)) + tag + data
        body += struct.pack(">I", zlib.crc32(tag + data))
    return b"\x89PNG\r\n\x1a\n" + body


def saved(image: Image.Image, kind: str = "TIFF", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize(
    "write",
    [
        lambda grey: saved(Image.fromarray(grey), "PNG"),
        lambda grey: saved(Image.fromarray(grey)),
        lambda grey: saved(Image.fromarray(grey), compression="tiff_lzw"),
        lambda grey: saved(Image.fromarray(grey.astype(np.int32))),
        lambda grey: tiff(grey.astype(">u2")),
        lambda grey: tiff(grey.astype("<f4")),
    ],
)
def test_grey_levels_fill_the_bits_that_they_need(bits: int, write: object) -> None:
    grey = FULL >> (16 - bits)
    image = decoded(write(grey))  # type: ignore[operator]
    # Floating-point numbers are rounded, whole ones lose their lower bits.
    assert np.abs(image.astype(int) - GREY[:, :, None]).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize(
    "write",
    [
        png,
        tiff,
        lambda c: tiff(c.astype(">u2")),
        lambda c: tiff(c, packed=True),
        lambda c: tiff(c, planar=True),
        lambda c: tiff(c.astype(">u2"), planar=True, rows_per_strip=10),
        lambda c: tiff(c, planar=True, packed=True, rows_per_strip=48),
    ],
)
def test_deep_colors_keep_their_lower_bits_and_their_places(bits: int, write: object) -> None:
    data = write(COLORS >> (16 - bits))  # type: ignore[operator]
    np.testing.assert_array_equal(decoded(data), EIGHT)


@pytest.mark.parametrize("planar", [False, True])
def test_deep_rgba_tiff_lies_over_white(planar: bool) -> None:
    alpha = np.full((SIDE, SIDE, 1), 65535, np.uint16)
    alpha[:, : SIDE // 2] = 0
    image = decoded(tiff(np.concatenate([COLORS, alpha], axis=2), planar=planar))
    assert (image[:, : SIDE // 2] == 255).all()
    np.testing.assert_array_equal(image[:, SIDE // 2 :], EIGHT[:, SIDE // 2 :])


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("opaque", [4095, 65535])
def test_deep_png_with_alpha_lies_over_white(channels: int, opaque: int) -> None:
    alpha = np.full((SIDE, SIDE, 1), opaque, np.uint16)
    alpha[: SIDE // 2] = 0
    colors = COLORS[:, :, : channels - 1] >> 4
    image = decoded(png(np.concatenate([colors, alpha], axis=2)))
    assert (image[: SIDE // 2] == 255).all()
    np.testing.assert_array_equal(image[SIDE // 2 :], np.broadcast_to(
        EIGHT[SIDE // 2 :, :, : channels - 1], (SIDE // 2, SIDE, 3)
    ))  # fmt: skip


@pytest.mark.parametrize("dtype", ["u1", "<u2"])
def test_white_may_be_zero(dtype: str) -> None:
    stored = 65535 - FULL if dtype == "<u2" else 255 - GREY
    np.testing.assert_array_equal(decoded(tiff(stored.astype(dtype), photometric=0))[..., 0], GREY)


def test_a_file_that_states_its_range_is_believed() -> None:
    dim = (FULL >> 6).astype("<u2")  # 0..1023
    stated = tiff(dim, tags={340: (3, [0]), 341: (3, [4095])})
    np.testing.assert_array_equal(decoded(stated)[..., 0], (dim >> 4).astype(np.uint8))
    floats = tiff(np.linspace(-1000, 1000, 64 * 64).reshape(64, 64).astype("<f4"),
                  tags={340: (11, [-1000.0]), 341: (11, [1000.0])})  # fmt: skip
    assert decoded(floats)[0, 0, 0] == 0
    assert decoded(floats)[-1, -1, 0] == 255
    nonsense = tiff(FULL, tags={340: (3, [9]), 341: (3, [3])})
    np.testing.assert_array_equal(decoded(nonsense)[..., 0], GREY)


def test_twelve_packed_bits_are_stated() -> None:
    pairs = np.full((4, 4), 1000, np.uint16)
    packed = bytes([1000 >> 4, ((1000 & 15) << 4) | (1000 >> 8), 1000 & 255]) * 8
    data = tiff(pairs.astype("<u2"), tags={258: (3, [12]), 279: (4, [24])})
    data = data[:8] + packed + data[8 + 24 :]
    assert (decode_image(data, image_size=4, max_pixels=99) == 1000 >> 4).all()


def test_pgm_states_its_range() -> None:
    data = b"P5 2 2 4095\n" + np.full(4, 1000, ">u2").tobytes()
    assert (decode_image(data, image_size=2, max_pixels=9) == 1000 >> 4).all()


@pytest.mark.parametrize("low", [-5.0, 70_000.0])
@pytest.mark.parametrize("dtype", ["<i4", "<f4"])
def test_values_of_no_known_range_ask_for_the_option(low: float, dtype: str) -> None:
    stored = np.full((4, 4), low).astype(dtype)
    with pytest.raises(UndecodableImage, match=r"outside 0\.\..*data\.range=\[LOW,HIGH\]"):
        decoded(tiff(stored))
    levels = KnownLevels.stated((-10.0, 100_000.0))
    assert 0 <= decoded(tiff(stored), levels=levels)[0, 0, 0] < 255


def test_the_option_overrules_what_a_file_states_and_clips() -> None:
    stored = tiff(FULL >> 4, tags={341: (3, [65535])})
    image = decoded(stored, levels=KnownLevels.stated((0.0, 2047.0)))[..., 0]
    np.testing.assert_array_equal(image, np.minimum(FULL >> 4, 2047) >> 3)


@pytest.mark.parametrize("value", [1.5, np.nan, -0.1])
def test_floats_between_the_known_ranges_are_refused(value: float) -> None:
    with pytest.raises(UndecodableImage, match=r"outside 0\.\.1|NaN"):
        decoded(tiff(np.full((4, 4), value, "<f4")))
    with pytest.raises(UndecodableImage, match="NaN"):
        eight_bits(np.array([np.nan], np.float32), (0.0, 1.0))


@pytest.mark.parametrize(
    ("low", "middle", "high"),
    [(-3e38, 0.0, 3e38), (-1.7e308, 0.0, 1.7e308), (0.0, 1e-45, 2e-45), (0.0, 5e-309, 1e-308)],
)
@pytest.mark.filterwarnings("error")
def test_the_widest_and_the_narrowest_ranges(low: float, middle: float, high: float) -> None:
    samples = np.array([-np.inf, low, middle, high, np.inf])
    found = eight_bits(samples, (low, high))
    np.testing.assert_allclose(found, [0, 0, 127.5, 255, 255], atol=0.5)
    with np.errstate(over="ignore"):
        narrow = samples.astype(np.float32)
    assert eight_bits(narrow, (low, high))[[0, 4]].tolist() == [0, 255]
    np.testing.assert_array_equal(eight_bits(np.array([0, 9]), (-1.7e308, 1.7e308)), 128)


def test_one_transparent_color_of_sixteen_bits() -> None:
    image = Image.fromarray(np.full((4, 4), 770, np.uint16))
    data = saved(image, "PNG", transparency=770)
    assert (decode_image(data, image_size=4, max_pixels=99) == 255).all()
    other = saved(image, "PNG", transparency=771)
    assert (decode_image(other, image_size=4, max_pixels=99) == 770 >> 2).all()


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("kind", ["u1", "u2", "rgb", "planar", "packed"])
def test_a_tiff_is_turned_once(number: int, kind: str) -> None:
    stored = {
        "u1": EIGHT,
        "u2": FULL[:48] // 2 + FULL.T[:48] // 2,
        "rgb": COLORS[:48],
        "planar": COLORS[:48],
        "packed": EIGHT[:48],
    }[kind]
    data = tiff(
        np.ascontiguousarray(stored),
        planar=kind == "planar",
        packed=kind == "packed",
        tags={274: (3, [number])},
    )
    eight = stored if stored.dtype == np.uint8 else (stored >> 8).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = number
    twin = saved(Image.fromarray(eight), "PNG", exif=exif)
    for fit in ("crop", "stretch"):
        np.testing.assert_array_equal(decoded(data, fit=fit), decoded(twin, fit=fit))


@pytest.mark.parametrize("number", range(1, 9))
def test_an_odd_margin_is_cut_from_the_picture_as_it_is_seen(number: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 14, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = number
    upright = decode_image(
        saved(Image.fromarray(pixels), "PNG", exif=exif), image_size=9, max_pixels=999
    )
    turned = Image.fromarray(pixels)
    turn = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_270],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_90],
    }
    for step in turn.get(number, []):
        turned = turned.transpose(step)
    seen = np.asarray(turned)
    top, left = (seen.shape[0] - 9) // 2, (seen.shape[1] - 9) // 2
    np.testing.assert_array_equal(upright, seen[top : top + 9, left : left + 9])


# --- a folder ------------------------------------------------------------------------------------


def folder_of(path: Path, **pictures: np.ndarray) -> Path:
    path.mkdir(parents=True)
    for name, stored in pictures.items():
        Image.fromarray(stored).save(path / f"{name}.tif")
    return path


def means(source: FolderSource | PartedSource) -> list[float]:
    return [item.image.mean() for item in source.items() if isinstance(item, Decoded)]


def test_a_folder_has_one_range_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "spice_keras.decoding")
    constant = {name: np.full((4, 4), value, np.uint16) for name, value in
                {"a_dim": 160, "b_bright": 4000, "c_mid": 2000}.items()}  # fmt: skip
    folder = folder_of(tmp_path / "x", **constant)
    Image.fromarray(np.full((4, 4), 7, np.uint8)).save(folder / "a_eight.png")
    source = FolderSource(folder, 4, "crop", 10**6)
    assert means(source) == [160 >> 4, 7, 4000 >> 4, 2000 >> 4]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("3 pictures of whole numbers do not state their range "
                                         "(1 fill 0..255, 2 fill 0..4095)")  # fmt: skip
    assert source.levels.found == KnownLevels((0.0, 4095.0))  # type: ignore[union-attr]
    known = KnownLevels.from_dict(source.levels.found.as_dict())  # type: ignore[union-attr]
    assert means(FolderSource(folder, 4, "crop", 10**6, levels=known))[0] == 160 >> 4


def test_parts_of_one_data_set_share_a_range(tmp_path: Path) -> None:
    folders = [
        folder_of(tmp_path / "test", dim=np.full((4, 4), 100, np.uint16)),
        folder_of(tmp_path / "train", bright=np.full((4, 4), 4095, np.uint16)),
    ]
    parts = [Part(f.name, FolderSource(f, 4, "crop", 10**6), f.name) for f in folders]
    source = PartedSource(parts)
    assert means(source) == [100 >> 4, 255]
    assert source.levels == KnownLevels((0.0, 4095.0))


def test_whole_and_floating_point_numbers_have_a_range_each(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path / "x",
        floats=np.full((4, 4), 0.5, np.float32),
        odd=np.full((4, 4), -3.0, np.float32),
        whole=np.full((4, 4), 1023, np.uint16),
    )
    source = FolderSource(folder, 4, "crop", 10**6)
    assert means(source) == [128, 255]
    assert source.levels.found == KnownLevels((0.0, 1023.0), (0.0, 1.0))  # type: ignore[union-attr]


def test_a_folder_of_eight_bits_is_looked_at_once(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "x", a=np.full((4, 4), 9, np.uint8))
    source = FolderSource(folder, 4, "crop", 10**6)
    assert means(source) == [9]
    assert source.levels.found is None  # type: ignore[union-attr]


def test_known_levels_refuse_an_empty_range() -> None:
    with pytest.raises(ValueError, match="LOW below HIGH"):
        KnownLevels.from_dict({"integers": [5, 5]})
    assert KnownLevels.from_dict({}) == KnownLevels()
    assert Extent("integers", 0, 0).value_range() == (0.0, 255.0)
