"""Folders for clusters: made whole, never over anything, and undone to the last file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.errors import UserError
from spice_keras.options import Placement
from spice_keras.organize import (
    Layout,
    OrganizePlan,
    folder_names,
    make_folders,
    plan_folders,
    undo_folders,
)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    found = []
    for number in range(10):
        path = tmp_path / "photos" / f"day{number % 2}" / f"{number // 2}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"image {number}".encode())
        found.append(path)
    return found


CLUSTERS = np.array([0, 0, 1, 1, 1, 0, -1, 0, 0, 0])


def planned(images: list[Path], layout: Layout | None = None) -> OrganizePlan:
    return plan_folders(images, CLUSTERS, ["cats", ""], layout or Layout())


@pytest.mark.parametrize("placement", ["link", "hardlink", "copy"])
def test_folders_are_made_and_undone(
    images: list[Path], tmp_path: Path, placement: Placement
) -> None:
    plan, target = planned(images), tmp_path / "out"
    assert plan.sizes == {"cats": 6, "cluster-1": 3}
    make_folders(plan, target, placement)
    for name, source in plan.files.items():
        assert (target / name).read_bytes() == source.read_bytes()
        assert (target / name).is_symlink() == (placement == "link")
        assert os.path.samefile(target / name, source) == (placement != "copy")
    assert len(plan.files) == 9
    assert undo_folders(target) == (9, [])
    assert not target.exists()
    assert all(path.is_file() for path in images)


def test_equal_names_and_largest(images: list[Path], tmp_path: Path) -> None:
    plan = planned(images, Layout(largest=2))
    assert [name for name in plan.files if name.startswith("cats")] == [
        "cats/0001/0.png",
        "cats/0001/0-2.png",
        "cats/0002/2.png",
        "cats/0002/3.png",
        "cats/0003/4.png",
        "cats/0003/4-2.png",
    ]


def test_a_split_keeps_shares_in_every_cluster(images: list[Path]) -> None:
    layout = Layout(shares=(0.5, 0.25, 0.25))
    plan = planned(images, layout)
    assert plan.sizes["train/cats"] == 3
    assert sum(plan.sizes.values()) == len(set(plan.files.values())) == 9
    assert planned(images, layout).files == plan.files
    assert planned(images, Layout(shares=(0.5, 0.25, 0.25), seed=1)).files != plan.files
    with pytest.raises(UserError, match="sum to 1"):
        Layout(shares=(0.5, 0.5, 0.5))


def test_nothing_is_overwritten(images: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(UserError, match="there already"):
        make_folders(planned(images), target, "copy")
    assert list(target.iterdir()) == []
    with pytest.raises(UserError, match="among the images"):
        make_folders(planned(images), tmp_path / "photos" / "day0" / "out", "copy")


def test_a_failure_leaves_nothing(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copy2", full)
    with pytest.raises(UserError, match="No space left on device"):
        make_folders(planned(images), tmp_path / "out", "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_undo_leaves_what_changed(images: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "out"
    make_folders(planned(images), target, "copy")
    (target / "cats" / "0.png").write_bytes(b"edited by hand")
    (target / "cats" / "mine.txt").write_text("a note")
    removed, kept = undo_folders(target)
    assert removed == 8
    assert kept == [str(target / "cats" / "0.png")]
    assert (target / "cats" / "mine.txt").is_file()
    assert not (target / "cluster-1").exists()


def test_undo_knows_what_was_moved(images: list[Path], tmp_path: Path) -> None:
    for placement in ("link", "copy"):
        target = tmp_path / placement
        make_folders(planned(images), target, placement)
        (target / "mine").mkdir()
        (target / "cats" / "0.png").rename(target / "mine" / "0.png")
        (target / "mine" / "own.txt").write_text("a note")
        removed, kept = undo_folders(target)
        stays = [] if placement == "link" else [str(target / "mine" / "0.png")]
        assert (removed, kept) == (9 - len(stays), stays)
        assert not (target / "cats").exists()
        assert (target / "mine" / "own.txt").is_file()


def test_undo_never_leaves_the_folder(images: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "out"
    make_folders(planned(images), target, "copy")
    manifest = json.loads((target / "organized.json").read_text())
    victim = images[0]
    manifest["files"][0] = {
        "path": os.path.relpath(victim, target),
        "source": "",
        "bytes": victim.stat().st_size,
    }
    (target / "organized.json").write_text(json.dumps(manifest))
    undo_folders(target)
    assert victim.is_file()
    with pytest.raises(UserError, match="nothing to undo"):
        undo_folders(tmp_path / "photos")


@given(st.lists(st.text(max_size=100), max_size=6))
def test_folder_names_are_safe_and_different(names: list[str]) -> None:
    found = folder_names(names)
    assert len({name.casefold() for name in found}) == len(names)
    for name in found:
        assert name == os.path.basename(name)
        assert name not in ("", ".", "..")
        assert len(name.encode()) <= 90
        assert not name.startswith(".")
        assert name.isprintable() or any(c.isspace() for c in name)
