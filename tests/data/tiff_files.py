"""TIFF files made tag by tag, as Pillow does not write them."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

_FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff(
    stored: np.ndarray,
    *,
    photometric: int | None = None,
    planar: bool = False,
    packed: bool = False,
    rows_per_strip: int | None = None,
    tags: dict[int, tuple[int, list[Any]]] | None = None,
) -> bytes:
    """Write [H, W] or [H, W, C] numbers as they are; big-endian arrays make a big-endian file."""
    end = ">" if stored.dtype.byteorder == ">" else "<"
    height, width = stored.shape[:2]
    channels = stored.shape[2] if stored.ndim == 3 else 1
    rows = rows_per_strip or height
    planes = [stored[..., c] for c in range(channels)] if planar else [stored]
    pieces = [p[top : top + rows].tobytes() for p in planes for top in range(0, height, rows)]
    if packed:
        pieces = [zlib.compress(piece) for piece in pieces]
    offsets, body = [], b""
    for piece in pieces:
        offsets.append(8 + len(body))
        body += piece + b"\0" * (len(piece) % 2)
    shown = (2 if channels >= 3 else 1) if photometric is None else photometric
    bits, kind = stored.dtype.itemsize * 8, _FORMATS[stored.dtype.kind]
    entries: dict[int, tuple[int, list[Any]]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits] * channels),
        259: (3, [8 if packed else 1]),
        262: (3, [shown]),
        273: (4, offsets),
        277: (3, [channels]),
        278: (4, [rows]),
        279: (4, [len(piece) for piece in pieces]),
        284: (3, [2 if planar else 1]),
        339: (3, [kind] * channels),
        **({338: (3, [2])} if channels == 4 else {}),
        **(tags or {}),
    }
    return _file(entries, body, end)


def _file(entries: dict[int, tuple[int, list[Any]]], body: bytes, end: str) -> bytes:
    place = 8 + len(body)
    behind_at = place + 2 + 12 * len(entries) + 4
    table, behind = b"", b""
    for tag, (kind, values) in sorted(entries.items()):
        code = {3: "H", 4: "I", 11: "f", 12: "d"}[kind]
        packed = struct.pack(f"{end}{len(values)}{code}", *values)
        if len(packed) <= 4:
            where = packed.ljust(4, b"\0")
        else:
            where = struct.pack(f"{end}I", behind_at + len(behind))
            behind += packed
        table += struct.pack(f"{end}HHI", tag, kind, len(values)) + where
    head = (b"II" if end == "<" else b"MM") + struct.pack(f"{end}HI", 42, place)
    count = struct.pack(f"{end}H", len(entries))
    return head + body + count + table + b"\0" * 4 + behind
