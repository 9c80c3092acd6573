"""How many pixels are decoded at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from spice_keras.runtime import trim_heap

_LARGE_SHARES = 8  # pictures that take more of the room than one part in so many


class PixelBudget:
    """A number of pixels that threads share while each of them decodes a picture.

    Args:
        most: pixels that may be decoded at the same time; a larger picture waits until it is
            alone.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._free = most
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for a picture, and keep it while the block runs.

        Args:
            pixels: width times height.
        """
        share = min(pixels, self.most)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= share)
            self._free -= share
        try:
            yield
        finally:
            if share * _LARGE_SHARES >= self.most:
                # Each thread would keep what it has freed, and the room would be lent twice.
                trim_heap()
            with self._changed:
                self._free += share
                self._changed.notify_all()
