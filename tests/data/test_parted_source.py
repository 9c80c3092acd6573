"""Several sources as one, and the duplicates left out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from spice_keras.data.parted_source import Part, PartedSource
from spice_keras.data.sources import Decoded, SkippedFile
from spice_keras.errors import UserError


class _Grey:
    """Images of one grey level each; below 0, a file that gives none."""

    image_size = 4

    def __init__(self, *levels: int) -> None:
        self._levels = levels

    def __len__(self) -> int:
        return len(self._levels)

    def items(self) -> Iterator[Decoded | SkippedFile]:
        for row, level in enumerate(self._levels):
            if level < 0:
                yield SkippedFile(str(row), "torn")
            else:
                yield Decoded(str(row), np.full((4, 4, 3), level, np.uint8))


def _parts(**levels: tuple[int, ...]) -> list[Part]:
    return [Part(role, _Grey(*grey), f"{role}/") for role, grey in levels.items()]


def _ids(source: PartedSource) -> list[str]:
    return [item.id for item in source.items() if isinstance(item, Decoded)]


def test_parts_come_one_after_another_and_are_counted() -> None:
    source = PartedSource(_parts(test=(1, 2), train=(3, -1, 4), extra=(5,)))
    assert len(source) == 6
    names = [i.id if isinstance(i, Decoded) else f"!{i.path}" for i in source.items()]
    assert names == ["test/0", "test/1", "train/0", "!train/1", "train/2", "extra/0"]
    assert source.counts == {"test": 2, "train": 2, "extra": 1}
    assert source.num_duplicates == 0


def test_extra_copies_of_test_images_are_left_out_and_counted() -> None:
    parts = _parts(test=(1, 2, -1), train=(2, 3), extra=(2, 3, 1, 4, 4, 2))
    source = PartedSource(parts, duplicates_of="test")
    expected = ["test/0", "test/1", "train/0", "train/1", "extra/1", "extra/3", "extra/4"]
    assert _ids(source) == expected
    assert source.counts == {"test": 2, "train": 2, "extra": 3}
    assert source.num_duplicates == 3
    assert _ids(source) == expected, "a second reading begins anew"
    assert source.num_duplicates == 3


def test_a_part_of_copies_alone_is_readable() -> None:
    source = PartedSource(_parts(test=(1,), train=(2,), extra=(1,)), duplicates_of="test")
    list(source.items())
    source.check_parts()
    assert source.counts["extra"] == 0


def test_one_changed_pixel_is_no_duplicate() -> None:
    class Changed(_Grey):
        def items(self) -> Iterator[Decoded | SkippedFile]:
            image = np.full((4, 4, 3), 1, np.uint8)
            image[2, 3, 1] = 2
            yield Decoded("0", image)

    parts = [Part("test", _Grey(1)), Part("train", _Grey(9)), Part("extra", Changed(1))]
    source = PartedSource(parts, duplicates_of="test")
    assert len(_ids(source)) == 3


def test_a_part_without_images_is_refused() -> None:
    source = PartedSource(_parts(test=(-1,), train=(1,), extra=(-1, -1)))
    list(source.items())
    with pytest.raises(UserError, match="no readable test and no extra images"):
        source.check_parts()
