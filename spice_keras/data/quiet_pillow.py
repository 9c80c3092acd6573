"""Pillow without its warnings, from many threads at once."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_saved: list[warnings.catch_warnings] = []


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Hold back Pillow's warnings while at least one thread is inside.

    What Pillow warns of (large sizes, malformed metadata) is either decided by the caller or of
    no matter to the pixels. The filters of `warnings` belong to the whole process, so threads
    that each saved and restored them would undo one another: the first one in saves them, the
    last one out restores them.
    """
    global _inside
    with _lock:
        if _inside == 0:
            guard = warnings.catch_warnings()
            guard.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _saved.append(guard)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _saved.pop().__exit__(None, None, None)
