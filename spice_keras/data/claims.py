"""Which files of a folder claim to be images: those that are to be decoded, or are failures."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath

# Endings of pictures, those that cannot be decoded among them: such a file is a failure to tell of.
IMAGE_ENDINGS = frozenset((
    "apng", "avif", "bmp", "cr2", "dib", "dng", "gif", "heic", "heif", "hif", "ico", "j2k", "jfif",
    "jp2", "jpe", "jpeg", "jpg", "jxl", "nef", "pbm", "pcx", "pgm", "png", "pnm", "ppm", "psd",
    "raw", "svg", "tga", "tif", "tiff", "webp", "xcf",
))  # fmt: skip
_BEGINNINGS = (
    b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"II+\0",
    b"MM\0+", b"P1\n", b"P2\n", b"P3\n", b"P4\n", b"P5\n", b"P6\n",
)  # fmt: skip


def claims_to_be_image(directory: Path, name: str) -> bool:
    """Tell whether a file is to be read as an image.

    Args:
        directory: A folder.
        name: Path of the file below it, with forward slashes.

    Returns:
        True for an image's ending and for none at all. Another ending is believed unless the file
        begins as an image does: notes.txt is not an image, and photo.jpg_large is one.
    """
    ending = PurePosixPath(name).suffix.removeprefix(".").lower()
    if not ending or ending in IMAGE_ENDINGS:
        return True
    path = directory / name
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return False
    return start.startswith(_BEGINNINGS) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")
