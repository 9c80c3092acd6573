"""Which items of a source a run knows, and what is put in place when an update is committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from spice_keras.run.directory import RunDirectory
from spice_keras.run.update import commit, finish_commit, past_updates, staging
from spice_keras.stages.update import match_items

_IDS, _ROWS = ["a", "b", "c"], [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    ("ids", "rows", "known", "counts"),
    [
        (_IDS, _ROWS, [0, 1, 2], (0, 0, 0, 0)),
        (["c", "a", "b"], [b"3", b"1", b"2"], [2, 0, 1], (0, 0, 0, 3)),
        (["a", "b", "c", "d"], [*_ROWS, b"4"], [0, 1, 2, -1], (1, 0, 0, 0)),
        (["a", "c"], [b"1", b"3"], [0, 2], (0, 0, 1, 1)),
        (_IDS, [b"1", b"9", b"3"], [0, -1, 2], (0, 1, 0, 0)),
        # renamed: nothing need be computed for it
        (["a", "b", "z"], _ROWS, [0, 1, 2], (1, 0, 1, 0)),
        # two names for one content
        (["a", "b", "c", "d"], [*_ROWS, b"1"], [0, 1, 2, 0], (1, 0, 0, 1)),
    ],
)
def test_items_with_names(
    ids: list[str], rows: list[bytes], known: list[int], counts: tuple[int, ...]
) -> None:
    found = match_items(_IDS, _ROWS, ids, rows)
    assert found.known.tolist() == known
    assert (found.added, found.changed, found.removed, found.moved) == counts
    assert found.is_equal == (counts == (0, 0, 0, 0))


@pytest.mark.parametrize(
    ("rows", "known", "counts"),
    [
        ([b"3", b"1", b"2"], [2, 0, 1], (0, 0, 0, 3)),
        ([b"2", b"3"], [1, 2], (0, 0, 1, 2)),
        ([b"1", b"9", b"3"], [0, -1, 2], (0, 1, 0, 0)),
        ([b"0", *_ROWS], [-1, 0, 1, 2], (1, 0, 0, 3)),
        ([*_ROWS, b"2"], [0, 1, 2, 1], (1, 0, 0, 1)),
    ],
)
def test_rows_without_names_are_known_by_content(
    rows: list[bytes], known: list[int], counts: tuple[int, ...]
) -> None:
    numbers = [str(number) for number in range(len(rows))]
    found = match_items(["0", "1", "2"], _ROWS, numbers, rows, named=False)
    assert found.known.tolist() == known
    assert (found.added, found.changed, found.removed, found.moved) == counts


def test_copies_of_one_content_are_told_apart_by_their_place() -> None:
    rows = [b"x", b"x", b"y"]
    same = match_items(["0", "1", "2"], rows, ["0", "1", "2"], rows, named=False)
    assert same.is_equal
    fewer = match_items(["0", "1", "2"], rows, ["0", "1"], [b"x", b"y"], named=False)
    assert fewer.known.tolist() == [0, 2]
    assert (fewer.added, fewer.changed, fewer.removed) == (0, 0, 1)


def _write(run: RunDirectory, name: str, text: str) -> None:
    with run.write(name, stage="x") as folder:
        (folder / "text").write_text(text)


def _text(run: RunDirectory, name: str) -> str:
    return (run.read(name, written_by="") / "text").read_text()


def test_a_commit_goes_on_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spice_keras.config import load_config

    config = load_config("digits")
    run = RunDirectory.create(tmp_path / "run", config.as_dict())
    names = ("images", "embeddings", "heads", "evaluation")
    for name in names:
        _write(run, name, "old")
    (run.path / "report.html").touch()
    staged = staging(run, config, {"train": "x"})
    for name in names[:3]:
        _write(staged, name, "new")
    (staged.path / "plan.json").write_text("new")
    real, renamed = Path.rename, []

    def rename(self: Path, target: Path) -> Path:
        if self.parent.parent.name == "update":
            renamed.append(self.name)
            if len(renamed) == 2:
                raise KeyboardInterrupt
        return real(self, target)

    assert staging(run, config, {"train": "x"}).has("heads"), "the same source: it is gone on with"
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        commit(run, staged, names[:3])
    assert finish_commit(run)
    assert not finish_commit(run)
    assert [_text(run, name) for name in names[:3]] == ["new"] * 3
    assert not run.has("evaluation")
    assert not (run.path / "report.html").exists()
    assert (run.path / "plan.json").read_text() == "new"
    assert not (run.path / "update").exists()


def test_what_was_staged_of_another_source_goes(tmp_path: Path) -> None:
    from spice_keras.config import load_config

    config = load_config("digits")
    run = RunDirectory.create(tmp_path / "run", config.as_dict())
    for state in ({"train": "y"}, None):
        _write(staging(run, config, {"train": "x"}), "images", "new")
        assert not staging(run, config, state).has("images")


def test_a_damaged_list_of_updates_is_no_obstacle(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for text in ("", "{", "null", '[1, {"added": 2}]', "[" * 100_000):
        (tmp_path / "updates.json").write_text(text)
        assert past_updates(run) == ([{"added": 2}] if "added" in text else [])
