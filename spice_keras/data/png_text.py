"""Leaves out texts and colour profiles of a PNG that are larger than Pillow unpacks.

They say nothing about the pixels, but Pillow takes a file with them for a bomb.
"""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

_MAGIC = b"\x89PNG\r\n\x1a\n"
# Below Pillow's own: 1 MiB a chunk, and 64 MiB in all.
_LARGEST, _MOST = 1 << 20, 32 << 20
_MOST_CHUNKS = 1_000_000
_TEXTS = frozenset({b"zTXt", b"iTXt", b"iCCP", b"tEXt"})


def without_large_texts(file: BinaryIO) -> BinaryIO:
    """Take large texts out of a PNG file.

    Args:
        file: any file, at its start.

    Returns:
        The same file, at its start; or a copy in memory if it is a PNG file with texts or a
        colour profile that unpack to more than 1 MiB, or to 32 MiB together.
    """
    if file.read(len(_MAGIC)) != _MAGIC:
        file.seek(0)
        return file
    dropped: list[tuple[int, int]] = []
    total, place = 0, len(_MAGIC)
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or kind == b"IEND":
            break
        if kind in _TEXTS:
            size = _unpacked_size(kind, file.read(length))
            total += size
            if size > _LARGEST or total > _MOST:
                dropped.append((place, place + 12 + length))
        place += 12 + length
    file.seek(0)
    return _without(file, dropped) if dropped else file


def _unpacked_size(kind: bytes, data: bytes) -> int:
    """Bytes that a text has, unpacked no further than is needed to call it large."""
    _, _, rest = data.partition(b"\0")
    if kind == b"tEXt" or (kind == b"iTXt" and rest[:1] != b"\1"):
        return len(data)
    # Behind the language and the translated name, or behind the compression method.
    rest = rest[2:].split(b"\0", 2)[-1] if kind == b"iTXt" else rest[1:]
    try:
        return len(zlib.decompressobj().decompress(rest, _LARGEST + 1))
    except zlib.error:  # Pillow passes over what it cannot unpack
        return len(data)


def _without(file: BinaryIO, dropped: list[tuple[int, int]]) -> BinaryIO:
    """Copy a file without some stretches of it."""
    kept, place = io.BytesIO(), 0
    for start, end in dropped:
        kept.write(file.read(start - place))
        file.seek(end)
        place = end
    kept.write(file.read())
    file.close()
    kept.seek(0)
    return kept
