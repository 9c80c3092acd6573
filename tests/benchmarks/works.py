"""Works for the harness's processes, which find them by name."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.workers import Work


def sleeper(seconds: float) -> Work:
    return lambda: time.sleep(seconds)


def spinner(seconds: float) -> Work:
    """Keeps a processor busy."""

    def turn() -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    return turn


def without_library() -> Work:
    raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")


def broken() -> Work:
    def turn() -> None:
        raise ArithmeticError("no good")

    return turn


def environment(name: str) -> str | None:
    import os

    return os.environ.get(name)


def litter(note: str) -> Work:
    """Leaves a temporary file and notes where."""
    place = tempfile.mkdtemp()
    Path(note).write_text(place, encoding="utf-8")
    return lambda: (Path(place) / "left").write_text("here", encoding="utf-8")
