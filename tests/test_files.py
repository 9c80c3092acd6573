"""Numbered folders: each writer gets a number of its own, and no number holds half a folder."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spice_keras import files
from spice_keras.files import give_number, next_number, unnumbered_folder


@pytest.mark.parametrize(
    ("names", "number"),
    [([], 1), (["1"], 2), (["1", "3"], 4), (["9", "10"], 11), (["007"], 8),
     (["draft", ".writing.abc", "-4", "1.5", "²"], 1)],
)  # fmt: skip
def test_the_next_number(tmp_path: Path, names: list[str], number: int) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    assert next_number(tmp_path) == number


def test_the_first_number_in_a_folder_that_is_new(tmp_path: Path) -> None:
    assert next_number(tmp_path / "gone") == 1


def test_writers_at_the_same_time_get_different_numbers(tmp_path: Path) -> None:
    count, parent = 8, tmp_path / "models"
    together = threading.Barrier(count, timeout=60)

    def write(name: str) -> Path:
        with unnumbered_folder(parent) as folder:
            (folder / "name").write_text(name)
            together.wait()
            return give_number(folder)

    names = [str(number) for number in range(count)]
    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(write, names))
    assert [(path / "name").read_text() for path in found] == names
    assert {path.name for path in parent.iterdir()} == {str(n) for n in range(1, count + 1)}


def test_a_number_that_is_taken_between_the_look_and_the_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "name").write_text("first")
    numbers = iter([1, 1, 2])  # the look comes too early twice
    monkeypatch.setattr(files, "next_number", lambda folder: next(numbers))
    with unnumbered_folder(tmp_path) as folder:
        assert give_number(folder) == tmp_path / "2"
    assert (tmp_path / "1" / "name").read_text() == "first"


def test_a_writer_that_fails_takes_no_number(tmp_path: Path) -> None:
    def fail() -> None:
        with unnumbered_folder(tmp_path) as folder:
            (folder / "name").write_text("half")
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_has_its_number_stays_whatever_comes_after(tmp_path: Path) -> None:
    def fail_later() -> None:
        with unnumbered_folder(tmp_path) as folder:
            give_number(folder)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fail_later()
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_folder_that_refuses_the_name_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError), unnumbered_folder(tmp_path) as folder:
        give_number(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_swept_before_it_is_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, beside = [], files._beside

    def swept_at_once(path: Path) -> Path:
        found = beside(path)
        made.append(found)
        if len(made) == 1:  # another writer takes the first for what a killed one left
            monkeypatch.setattr(Path, "mkdir", sweeping_mkdir)
        return found

    mkdir = Path.mkdir

    def sweeping_mkdir(self: Path, *arguments: object, **options: object) -> None:
        monkeypatch.setattr(Path, "mkdir", mkdir)
        mkdir(self)
        files.sweep(tmp_path / "version")

    monkeypatch.setattr(files, "_beside", swept_at_once)
    with unnumbered_folder(tmp_path) as folder:
        (folder / "a").touch()
        assert give_number(folder) == tmp_path / "1"
    assert len(made) == 2
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["a"]
