"""What libtiff prints to standard error by itself goes to the log, with the file's name."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_log = logging.getLogger("spice_keras.decoding")
_lock = threading.Lock()
_STDERR = 2
# "TIFFFillStrip: Read error.", "tempfile.tif: Using code not yet in table."
_LINE = re.compile(r"[\w.]+: .*\.$")


@contextmanager
def libtiff_lines(name: str) -> Iterator[None]:
    """Log what libtiff prints while the block runs, one block at a time.

    Its lines do not say which file they are about, so only one thread may be inside. Whatever
    another thread prints meanwhile is passed on when the block ends.

    Args:
        name: the file, for the log.
    """
    with _lock:
        try:
            kept = os.dup(_STDERR)
        except OSError:  # closed: nobody reads it
            yield
            return
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), _STDERR)
            try:
                yield
            finally:
                os.dup2(kept, _STDERR)
                os.close(kept)
                held.seek(0)
                _pass_on(held.read(), name)


def _pass_on(printed: bytes, name: str) -> None:
    """Log the lines of libtiff, and print the others."""
    for line in printed.splitlines(keepends=True):
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if _LINE.fullmatch(text):
            _log.info("%s: %s", name, text.removeprefix("tempfile.tif: "))
        else:
            os.write(_STDERR, line)
