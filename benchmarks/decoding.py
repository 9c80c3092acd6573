"""A folder of small JPEGs: decoded, and opened again."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.data import images
from benchmarks.harness import Comparison, Target
from benchmarks.workers import Contender, Work

SIDE = 32
_SECOND, _FIRST = "second time", "first time"


class Folder:
    """JPEGs, and the place where their pixels are stored.

    Args:
        place: An empty folder.
        count: How many.
    """

    def __init__(self, place: Path, count: int) -> None:
        from PIL import Image

        self.stored, self.pictures = place / "images.npy", place / "pictures"
        self.pictures.mkdir()
        for number, pixels in enumerate(images(count, SIDE)):
            Image.fromarray(pixels).save(self.pictures / f"{number:06}.jpg", quality=90)

    def decode(self) -> None:
        from spice_keras.data.folder_source import FolderSource
        from spice_keras.data.image_store import write_images

        source = FolderSource(self.pictures, SIDE, "crop", 10**8)
        write_images(source, self.stored, max_skipped_share=0.0)

    def open(self) -> int:
        from spice_keras.data.image_store import open_images

        return int(open_images(self.stored, 2**31).sum())


def first(count: int) -> Work:
    """List the folder, decode every file, store the pixels: what a new run does."""
    return Folder(Path(tempfile.mkdtemp()), count).decode


def second(count: int) -> Work:
    """Open what is stored and read every byte: what each later stage and a resumed run do."""
    folder = Folder(Path(tempfile.mkdtemp()), count)
    folder.decode()
    return folder.open


def comparison(count: int) -> Comparison:
    return Comparison(
        name=f"decoding_{count}",
        title=f"A folder of {count:,} JPEGs of {SIDE} px, the second time",
        turn="all images in memory",
        contenders=[
            Contender(_SECOND, second, {"count": count}),
            Contender(_FIRST, first, {"count": count}),
        ],
        targets=[Target(_SECOND, _FIRST, 10.0)],
        items=count,
        rounds=7,
        warm_ups=1,
        notes=[
            "The second time is within one run directory, which keeps the pixels. A new run "
            "directory decodes the folder again."
        ],
    )
