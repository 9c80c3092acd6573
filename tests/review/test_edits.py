"""Edits: counts add up whatever is decided, and what is read back is what was decided."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spice_keras.errors import UserError
from spice_keras.review.edits import (
    Check,
    Distinct,
    Exclude,
    Merge,
    Move,
    NewCluster,
    Part,
    Redo,
    Rename,
    Split,
    Undo,
    Whole,
    parse_edit,
)
from spice_keras.review.effective import effective
from spice_keras.review.log import EditLog
from spice_keras.review.state import CannotApply, ReviewState

IDS = [f"photos/{row:02d}.png" for row in range(12)]
CLUSTERS = np.arange(12) % 4


def start() -> ReviewState:
    return ReviewState(IDS, CLUSTERS, 4, ["cats", "dogs", "", ""])


def same(left: ReviewState, right: ReviewState) -> bool:
    arrays = ("places", "excluded", "decisions")
    return (
        left.groups == right.groups
        and left.keys == right.keys
        and left.distinct == right.distinct
        and all(np.array_equal(getattr(left, n), getattr(right, n)) for n in arrays)
    )


def drawn_edit(data: st.DataObject, state: ReviewState) -> Any:
    """Any edit: most fit the clusters as they stand, some do not."""
    draw = data.draw
    keys = st.sampled_from([*state.groups, "n99"])
    items = st.lists(st.sampled_from(IDS), min_size=1, max_size=5, unique=True).map(tuple)
    group, chosen, name = draw(keys), draw(items), draw(st.sampled_from(["", "one", "two"]))
    new = state.free_key()
    members = tuple(state.ids[row] for row in state.members(group)) if group != "n99" else ()
    merged = draw(st.lists(keys, min_size=2, max_size=4, unique=True).map(tuple))
    return draw(
        st.sampled_from(
            [
                Rename(group=group, name=name),
                Merge(groups=merged, into=merged[0], name=name),
                Split(group=group, parts=(Part(group=new, items=members[:2] or chosen),)),
                Move(items=chosen, group=group),
                NewCluster(items=chosen, group=new, name=name),
                Exclude(items=chosen, value=name == ""),
                Check(items=chosen, value=name == ""),
                Distinct(groups=merged[:2]),
                Whole(group=group),
                Undo(),
                Undo(),
                Redo(),
            ]
        )
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_counts_add_up_and_the_log_replays(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("log") / "edits.jsonl"
    log = EditLog(path, start())
    for _ in range(data.draw(st.integers(1, 15))):
        before, version = log.state.copy(), log.version
        try:
            log.append(drawn_edit(data, log.state))
        except CannotApply:
            assert same(log.state, before)
            assert log.version == version
        assert sum(log.state.counts().values()) + log.state.num_excluded == len(IDS)
        assert set(log.state.counts()) == set(log.state.groups)
        found = effective(log.state)
        kept = found.clusters >= 0
        assert kept.sum() == len(IDS) - log.state.num_excluded
        if found.merge is not None:
            assert np.array_equal(found.merge[CLUSTERS][kept], found.clusters[kept])
    again = EditLog(path, start())
    assert same(again.state, log.state)
    assert [entry.edit for entry in again.current.undone] == [e.edit for e in log.current.undone]
    assert again.current.lost == []


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_undo_and_redo_have_no_end(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    log = EditLog(tmp_path_factory.mktemp("log") / "edits.jsonl", start())
    states = [log.state.copy()]
    for _ in range(data.draw(st.integers(1, 8))):
        edit = drawn_edit(data, log.state)
        if not isinstance(edit, Undo | Redo):
            try:
                log.append(edit)
                states.append(log.state.copy())
            except CannotApply:
                pass
    for state in reversed(states[:-1]):
        log.append(Undo())
        assert same(log.state, state)
    with pytest.raises(CannotApply, match="nothing to undo"):
        log.append(Undo())
    for state in states[1:]:
        log.append(Redo())
        assert same(log.state, state)
    with pytest.raises(CannotApply, match="nothing to do again"):
        log.append(Redo())


def test_a_crash_in_the_middle_of_a_line_loses_that_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    log = EditLog(path, start())
    log.append(Rename(group="c2", name="birds"))
    whole = path.read_bytes()
    log.append(Merge(groups=("c0", "c1"), into="c0"))
    full = path.read_bytes()
    for cut in range(len(whole), len(full)):
        path.write_bytes(full[:cut])
        again = EditLog(path, start())
        assert again.state.groups["c2"].name == "birds"
        assert "c1" in again.state.groups
    again.append(Rename(group="c3", name="fish"))
    names = [group.name for group in EditLog(path, start()).state.groups.values()]
    assert names == ["cats", "dogs", "birds", "fish"]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    EditLog(path, start()).append(Rename(group="c2", name="birds"))
    path.write_bytes(path.read_bytes() + b'{"edit": {"kind": "fly"}, "when": ""}\n')
    with pytest.raises(UserError, match=r"Line 3 of .* is damaged"):
        EditLog(path, start())


def test_what_cannot_be_written_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "edits.jsonl"
    log = EditLog(path, start())
    log.append(Rename(group="c2", name="birds"))
    before, content = log.state.copy(), path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        log.append(Rename(group="c3", name="fish"))
    assert same(log.state, before)
    assert path.read_bytes() == content
    monkeypatch.undo()
    log.append(Rename(group="c3", name="fish"))
    assert EditLog(path, start()).state.groups["c3"].name == "fish"


def test_two_see_each_others_edits(tmp_path: Path) -> None:
    one, two = (EditLog(tmp_path / "edits.jsonl", start()) for _ in range(2))
    one.append(Merge(groups=("c0", "c1"), into="c0"))
    two.refresh()
    assert same(one.state, two.state)
    one.append(Rename(group="c2", name="birds"))
    with pytest.raises(CannotApply, match="no cluster c1"):  # seen although nothing was refreshed
        two.append(Move(items=(IDS[0],), group="c1"))
    two.append(Undo())
    one.refresh()
    assert one.state.groups["c2"].name == ""


def _rename_often(path: Path, name: str) -> None:
    log = EditLog(path, start())
    for number in range(20):
        log.append(Rename(group="c0", name=f"{name}{number}"))


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=_rename_often, args=(path, name)) for name in "ab"]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
        assert other.exitcode == 0
    log = EditLog(path, start())
    assert sorted(e.edit.name for e in log.entries) == sorted(  # type: ignore[union-attr]
        f"{name}{number}" for name in "ab" for number in range(20)
    )


def test_edits_follow_to_another_result(tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    log = EditLog(path, start())
    log.append(Rename(group="c1", name="wolves"))  # rows 1, 5, 9
    log.append(Move(items=(IDS[0],), group="c2"))
    log.append(Merge(groups=("c0", "c3"), into="c0"))
    log.append(NewCluster(items=(IDS[4], IDS[8]), group="n1", name="odd"))
    log.append(Rename(group="c2", name="birds"))
    log.append(Exclude(items=(IDS[11],)))
    # Two clusters have become one, the numbers have changed, an image is gone.
    ids = IDS[:11]
    other = ReviewState(ids, np.array([2, 0, 1, 2, 2, 0, 1, 2, 2, 0, 2]), 3)
    again = EditLog(path, other)
    assert again.state.groups["c0"].name == "wolves"
    assert again.state.groups["c1"].name == "birds"
    assert again.state.key_of(0) == "c1"
    assert again.state.members("n1").tolist() == [4, 8]
    reasons = {type(entry.edit).__name__: reason for entry, reason in again.current.lost}
    assert reasons == {
        "Merge": "this result has these clusters in one already",
        "Exclude": "none of its images is in this run",
    }
    assert sum(again.state.counts().values()) == 11
    again.append(Rename(group="c2", name="the rest"))
    assert EditLog(path, other).state.groups["c2"].name == "the rest"


def test_edits_of_other_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    EditLog(path, start()).append(Rename(group="c1", name="wolves"))
    with pytest.raises(UserError, match="edits of other images"):
        EditLog(path, ReviewState(["other.png"], np.zeros(1, int), 1))


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "[]",
        '{"kind": "rename"}',
        '{"kind": "rename", "group": "../x"}',
        '{"kind": "rename", "group": "c0", "name": "a\\u0000b"}',
        '{"kind": "rename", "group": "c0", "name": "a\\u202eb"}',
        '{"kind": "merge", "groups": ["c0"], "into": "c0"}',
        '{"kind": "merge", "groups": ["c0", "c0"], "into": "c0"}',
        '{"kind": "move", "items": [], "group": "c0"}',
        '{"kind": "move", "items": [1], "group": "c0"}',
        '{"kind": "check", "items": ["a"], "value": "yes"}',
        '{"kind": "undo", "of": 3}',
        json.dumps({"kind": "rename", "group": "c0", "name": "x" * 121}),
    ],
)
def test_what_is_not_an_edit_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=": "):
        parse_edit(bad)


def test_an_edit_reads_back_as_it_was() -> None:
    edit = Split(group="c0", parts=(Part(group="n1", items=("a", "b"), name="  two  words "),))
    assert parse_edit(edit.model_dump_json()) == edit
    assert edit.parts[0].name == "two words"


def test_effective_clusters_say_who_decided() -> None:
    state = start()
    state.apply(Merge(groups=("c1", "c3"), into="c1", name="animals"))
    state.apply(Exclude(items=(IDS[0],)))
    state.apply(Check(items=(IDS[4],)))
    found = effective(state)
    assert found.names == ("cats", "animals", "")
    assert found.merge is not None
    assert found.merge.tolist() == [0, 1, 2, 1]
    assert found.decisions[:5] == ("excluded", "", "", "merged", "checked")
    assert found.fixed.tolist() == [row == 4 for row in range(12)]
    state.apply(Move(items=tuple(IDS[row] for row in (2, 6, 10)), group="c0"))
    found = effective(state)
    assert found.merge is None
    assert found.keys == ("c0", "c1")  # c2 has no images any more
    assert found.clusters.tolist() == [-1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]


def test_merges_of_an_empty_cluster() -> None:
    state = ReviewState(["a", "b"], np.array([0, 2]), 3)
    state.apply(Merge(groups=("c1", "c2"), into="c2"))
    found = effective(state)
    assert found.merge is not None
    assert found.merge.tolist() == [0, 1, 1]
