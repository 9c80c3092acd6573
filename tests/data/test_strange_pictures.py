"""Valid pictures that look like bombs, bombs that look valid, and decoders that print."""

from __future__ import annotations

import io
import os
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from spice_keras.data.decoding import UndecodableImage, decode_image
from spice_keras.data.folder_source import FolderSource
from spice_keras.data.libtiff_lines import libtiff_lines
from spice_keras.data.pixel_budget import PixelBudget
from spice_keras.data.png_text import without_large_texts
from spice_keras.data.sources import Decoded, SkippedFile

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
BIG = zlib.compress(b"a" * 2_000_000)


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


def chunk(tag: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def with_chunks(extra: bytes, before: bytes = b"IDAT") -> bytes:
    whole = png()
    at = whole.index(before) - 4
    return whole[:at] + extra + whole[at:]


LARGE = {
    "zTXt": chunk(b"zTXt", b"k\0\0" + BIG),
    "iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BIG),
    "iTXt of a language": chunk(b"iTXt", b"k\0\1\0de\0Schl\xc3\xbcssel\0" + BIG),
    "iTXt plain": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"a" * 2_000_000),
    "tEXt": chunk(b"tEXt", b"k\0" + b"a" * 2_000_000),
    "iCCP": chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(range(250)) * 8000)),
    "many": chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 1_000_000)) * 70,
    "damaged": chunk(b"zTXt", b"k\0\0" + BIG[: len(BIG) // 2]) + chunk(b"zTXt", b"k"),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
def test_large_texts_and_profiles_do_not_matter(name: str, before: bytes) -> None:
    image = decode_image(with_chunks(LARGE[name], before), image_size=16, max_pixels=999)
    np.testing.assert_array_equal(image, PIXELS)


def test_small_texts_stay_and_the_limits_of_pillow_too() -> None:
    limits = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    small = chunk(b"zTXt", b"k\0\0" + zlib.compress(b"hello"))
    file = io.BytesIO(with_chunks(small + LARGE["zTXt"]))
    text = Image.open(without_large_texts(file)).text  # type: ignore[attr-defined]
    assert text == {"k": "hello"}
    untouched = io.BytesIO(with_chunks(small))
    assert without_large_texts(untouched) is untouched
    assert untouched.tell() == 0
    assert limits == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


def test_a_turned_png_with_a_large_text_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG", exif=exif)
    whole = file.getvalue()
    at = whole.index(b"IDAT") - 4
    image = decode_image(whole[:at] + LARGE["iTXt"] + whole[at:], image_size=16, max_pixels=999)
    np.testing.assert_array_equal(image, np.rot90(PIXELS, -1))


def test_max_pixels_works_beyond_pillows_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    # In place of 178,956,970 pixels and their memory.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    np.testing.assert_array_equal(decode_image(png(), image_size=16, max_pixels=256), PIXELS)
    with pytest.raises(UndecodableImage, match=r"16 x 16 .* limit of 255 \(data\.max_pixels\)"):
        decode_image(png(), image_size=16, max_pixels=255)
    assert Image.MAX_IMAGE_PIXELS == 10


# --- pixels decoded at the same time --------------------------------------------------------------


def test_the_pixels_of_all_threads_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [(30, 30), (20, 20), (10, 10), (5, 5)] * 4
    for number, size in enumerate(sizes):
        Image.new("RGB", size, (number, 0, 0)).save(tmp_path / f"{number:02d}.png")
    now, most = [0], [0]
    monkeypatch.setattr(ImageFile.ImageFile, "load", _counting(ImageFile.ImageFile.load, now, most))
    source = FolderSource(tmp_path, 8, "crop", max_pixels=1000, num_threads=4)
    items = list(source.items())
    assert all(isinstance(item, Decoded) for item in items)
    assert 0 < most[0] <= 1000


def _counting(load: object, now: list[int], most: list[int]) -> object:
    lock = threading.Lock()

    def counted(image: Image.Image) -> object:
        fresh = bool(image.tile)  # type: ignore[attr-defined]
        pixels = image.width * image.height if fresh else 0
        with lock:
            now[0] += pixels
            most[0] = max(most[0], now[0])
        time.sleep(0.002)
        try:
            return load(image)  # type: ignore[operator]
        finally:
            with lock:
                now[0] -= pixels

    return counted


def test_a_picture_larger_than_the_budget_waits_until_it_is_alone() -> None:
    budget, order = PixelBudget(10), []
    inside = threading.Event()

    def large() -> None:
        inside.set()
        with budget.taken(10**9):
            order.append("large")

    with budget.taken(3):
        thread = threading.Thread(target=large)
        thread.start()
        inside.wait()
        order.append("small")
    thread.join()
    assert order == ["small", "large"]
    with budget.taken(10):
        pass


def test_room_is_given_back_after_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png()[:300])
    (tmp_path / "b.png").write_bytes(png())
    kinds = [type(item) for item in FolderSource(tmp_path, 4, "crop", 256, num_threads=1).items()]
    assert kinds == [SkippedFile, Decoded]


# --- what decoders print --------------------------------------------------------------------------


def test_what_libtiff_prints_is_logged_with_the_name(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "spice_keras.decoding")
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "TIFF", compression="tiff_adobe_deflate")
    data = bytearray(file.getvalue())
    data[200:230] = b"\xff" * 30
    path = tmp_path / "odd name.tif"
    path.write_bytes(data)
    with pytest.raises(UndecodableImage):
        decode_image(path, image_size=4, max_pixels=999)
    assert capfd.readouterr().err == ""
    assert caplog.messages
    assert all(message.startswith(f"{path}: ") for message in caplog.messages)


def test_what_others_print_meanwhile_is_passed_on(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "spice_keras.decoding")
    with libtiff_lines("a.tif"):
        os.write(2, b"TIFFFillStrip: Read error.\nanother program speaks\n")
    assert capfd.readouterr().err == "another program speaks\n"
    assert caplog.messages == ["a.tif: TIFFFillStrip: Read error."]
