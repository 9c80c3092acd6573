from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spice_keras.data import folder_source
from spice_keras.data.folder_source import FolderSource
from spice_keras.data.sources import Decoded, SkippedFile
from spice_keras.errors import UserError


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), value).save(file, "PNG")
    return file.getvalue()


def source(directory: Path, **options: Any) -> FolderSource:
    return FolderSource(directory, **{"image_size": 4, "fit": "crop", "max_pixels": 64, **options})


def split(items: list[Decoded | SkippedFile]) -> tuple[dict[str, int], dict[str, str]]:
    images = {item.id: int(item.image[0, 0, 0]) for item in items if isinstance(item, Decoded)}
    skipped = {item.path: item.reason for item in items if isinstance(item, SkippedFile)}
    return images, skipped


def test_nested_sorted_and_hidden(tmp_path: Path) -> None:
    for place, value in {"b/x.png": 1, "a.png": 2, "b/c/y": 3, "a/z.PNG": 4, "B.jpg": 5}.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(png(value))
    (tmp_path / ".hidden.png").write_bytes(png(0))
    (tmp_path / ".folder").mkdir()
    (tmp_path / ".folder" / "x.png").write_bytes(png(0))
    folder = source(tmp_path)
    ids = [item.id for item in folder.items() if isinstance(item, Decoded)]
    assert ids == ["B.jpg", "a.png", "a/z.PNG", "b/c/y", "b/x.png"]
    assert len(folder) == 5
    assert split(list(folder.items()))[0]["b/c/y"] == 3


def test_bad_files_are_listed_with_reasons(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(png(9))
    (tmp_path / "empty.png").touch()
    (tmp_path / "half.png").write_bytes(png(9)[:45])
    (tmp_path / "notes.txt").write_text("nothing to see")
    (tmp_path / "large.bmp").write_bytes(png_of_side(9))
    (tmp_path / "broken.png").symlink_to("gone")
    (tmp_path / "circle.png").symlink_to("circle.png")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "folder.jpg" / "inside.png").write_bytes(png(8))
    os.mkfifo(tmp_path / "pipe.png")
    folder = source(tmp_path)
    images, skipped = split(list(folder.items()))
    assert images == {"good.png": 9, "folder.jpg/inside.png": 8}
    assert sorted(skipped) == [
        "broken.png",
        "circle.png",
        "empty.png",
        "half.png",
        "large.bmp",
        "pipe.png",
    ]
    assert "too large: 9 x 9" in skipped["large.bmp"]
    assert len(folder) == len(images) + len(skipped)


def test_files_that_do_not_claim_to_be_images_are_passed_over(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(png(number))
        (tmp_path / f"{number}.jpg.json").write_text("{}")
    (tmp_path / "photo.jpg_large").write_bytes(png(7))
    (tmp_path / "list.csv").symlink_to("gone")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "raw.heic").write_text("cannot be decoded")
    folder = source(tmp_path)
    images, skipped = split(list(folder.items()))
    assert images == {"0.jpg": 0, "1.jpg": 1, "2.jpg": 2, "photo.jpg_large": 7}
    assert list(skipped) == ["raw.heic"], "it claims to be an image"
    assert len(folder) == 5


def png_of_side(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (side, side)).save(file, "PNG")
    return file.getvalue()


def test_odd_names_have_ids_of_one_line_in_utf8(tmp_path: Path) -> None:
    names = [
        b"line\nbreak.png",
        b"latin-\xff.png",
        b"back\\slash.png",
        "\u5199\u771f \U0001f600.png".encode(),
    ]
    for value, name in enumerate(names):
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:
            file.write(png(value))
    (tmp_path / os.fsdecode(b"empty-\xfe")).touch()
    images, skipped = split(list(source(tmp_path).items()))
    assert images == {
        "line\\nbreak.png": 0,
        "latin-\\udcff.png": 1,
        "back\\\\slash.png": 2,
        "\u5199\u771f \U0001f600.png": 3,
    }
    assert skipped == {"empty-\\udcfe": "empty: 0 bytes"}
    (tmp_path / "ids.json").write_text(json.dumps([*images, *skipped], ensure_ascii=False), "utf-8")


def test_links_are_followed_once_and_circles_end(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.png").write_bytes(png(1))
    root = tmp_path / "root"
    (root / "z").mkdir(parents=True)
    (root / "z" / "y.png").write_bytes(png(2))
    (root / "a").symlink_to("z")
    (root / "z" / "up").symlink_to("..")
    (root / "out").symlink_to(outside)
    (outside / "back").symlink_to(root)
    images, skipped = split(list(source(root).items()))
    assert images == {"out/x.png": 1, "z/y.png": 2}
    assert not skipped


def test_a_folder_that_cannot_be_listed_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    (tmp_path / "secret").mkdir()
    refuse_listing(tmp_path / "secret", monkeypatch)
    images, skipped = split(list(source(tmp_path).items()))
    assert images == {"a.png": 1}
    assert skipped == {"secret": "folder cannot be listed: Permission denied"}


def refuse_listing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, whom no mode keeps out."""
    scandir = os.scandir

    def refuse(path: Path) -> Any:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(folder_source.os, "scandir", refuse)


def test_errors_a_user_can_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".hidden").touch()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    for name, reason in {
        "texts": "has 1 files, and by their endings none is an image",
        "gone": "is not a folder",
        "file": "is not a folder",
        "empty": "has no files",
    }.items():
        with pytest.raises(UserError, match=reason):
            source(tmp_path / name)
    refuse_listing(tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        source(tmp_path)


@pytest.mark.parametrize("num_threads", [1, 3])
def test_many_files_keep_their_order(tmp_path: Path, num_threads: int) -> None:
    for value in range(100):
        (tmp_path / f"{value:03d}").write_bytes(png(value) if value % 7 else b"")
    items = list(source(tmp_path, num_threads=num_threads).items())
    names = [item.id if isinstance(item, Decoded) else item.path for item in items]
    assert names == [f"{value:03d}" for value in range(100)]
    assert all((item.image == int(item.id)).all() for item in items if isinstance(item, Decoded))


def test_few_files_are_decoded_ahead_and_stopping_is_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in range(100):
        (tmp_path / f"{value:03d}").touch()
    decoded: list[str] = []

    def record(path: Path, **options: Any) -> np.ndarray:
        decoded.append(path.name)
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(folder_source, "decode_image", record)
    items = source(tmp_path, num_threads=2).items()
    next(items)
    next(items)
    items.close()
    assert len(decoded) <= 2 * 8 + 2
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]


def test_only_the_classes_asked_for_are_read(tmp_path: Path) -> None:
    for place in ("cat/1.png", "dog/images/2.png", "bird/3.png", "4.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(png(int(Path(place).stem)))
    found = source(tmp_path, classes=("dog", "cat"))
    assert len(found) == 2
    assert split(list(found.items()))[0] == {"cat/1.png": 1, "dog/images/2.png": 2}


def test_a_class_without_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(png(1))
    with pytest.raises(UserError, match=r"2 of the 3 classes are not sub-folders of .*: dog, bird"):
        source(tmp_path, classes=("cat", "dog", "bird"))
