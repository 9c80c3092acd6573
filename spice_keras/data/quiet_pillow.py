"""Pillow without its warnings and its own limit of pixels, from many threads at once."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

_lock = threading.Lock()
_inside = 0
_saved: list[tuple[warnings.catch_warnings[None], int | None]] = []


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Hold back Pillow's warnings and its limit of pixels while at least one thread is inside.

    What Pillow warns of (large sizes, malformed metadata) is either decided by the caller or of
    no matter to the pixels, and so is its limit of pixels: the caller compares a picture's size
    with a limit of its own before it decodes. The filters of `warnings` and Pillow's limit belong
    to the whole process, so threads that each saved and restored them would undo one another: the
    first one in saves them, the last one out restores them.
    """
    global _inside
    with _lock:
        if _inside == 0:
            guard: warnings.catch_warnings[None] = warnings.catch_warnings()
            guard.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _saved.append((guard, Image.MAX_IMAGE_PIXELS))
            Image.MAX_IMAGE_PIXELS = None
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                saved, Image.MAX_IMAGE_PIXELS = _saved.pop()
                saved.__exit__(None, None, None)
