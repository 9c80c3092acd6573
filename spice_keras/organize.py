"""A folder for each cluster: links, hard links or copies of the images, and the way back.

Nothing is ever moved or overwritten. The folder is filled under another name and takes its own when
it is complete; its manifest lists every file, so that all of it can be undone and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

from spice_keras.errors import UserError
from spice_keras.files import atomic_folder, write_json
from spice_keras.options import Placement

MANIFEST = "organized.json"
SPLIT_NAMES = ("train", "val", "test")
_LONGEST = 80
_DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}


@dataclass(frozen=True)
class Layout:
    """How the folders are laid out.

    Attributes:
        placement: "link", "hardlink" or "copy".
        largest: Most files in a folder, beyond which it has numbered sub-folders; None for any.
        shares: Shares of train, val and test, which sum to 1; None for no split.
        seed: Seed of the split.
    """

    placement: Placement = "link"
    largest: int | None = None
    shares: tuple[float, float, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.placement not in get_args(Placement):
            raise ValueError(f"`placement` must be one of {get_args(Placement)}.")
        if self.largest is not None and self.largest < 1:
            raise UserError("A folder holds at least one file: give --largest 1 or more.")
        if self.shares is not None and (min(self.shares) < 0 or abs(sum(self.shares) - 1.0) > 1e-6):
            raise UserError(
                "The shares of train, val and test must sum to 1, as in --split 0.8,0.1,0.1."
            )


@dataclass(frozen=True)
class OrganizePlan:
    """What will be made: nothing has happened yet.

    Attributes:
        files: The image behind each new file, by its path below the folder.
        sizes: New files of each cluster's folder.
        split: Whether the cluster's folders lie in folders of train, val and test.
    """

    files: Mapping[str, Path]
    sizes: Mapping[str, int] = field(default_factory=dict)
    split: bool = False


def folder_names(names: Sequence[str]) -> list[str]:
    """Name a folder for each cluster: its name, made safe and different from all others.

    Args:
        names: What the clusters are called, "" for one without a name.

    Returns:
        As many names, without separators, leading dots or what a file system refuses.

    Example:
        >>> folder_names(["cats", "", "a/b", "Cats"])
        ['cats', 'cluster-1', 'a_b', 'Cats-2']
    """
    found: list[str] = []
    taken: set[str] = set()
    for number, name in enumerate(names):
        base = _safe(name) or f"cluster-{number}"
        chosen, again = base, 2
        while chosen.casefold() in taken:
            chosen, again = f"{base}-{again}", again + 1
        taken.add(chosen.casefold())
        found.append(chosen)
    return found


def _safe(name: str) -> str:
    """A name as part of a path on any system; "" if nothing is left of it."""
    kept = [
        "_" if char in '/\\:*?"<>|' or unicodedata.category(char)[0] == "C" else char
        for char in unicodedata.normalize("NFC", name)
    ]
    safe = "".join(kept).strip(" .")
    while len(safe.encode()) > _LONGEST:
        safe = safe[:-1].rstrip(" .")
    return f"{safe}_" if safe.casefold().partition(".")[0] in _DEVICES else safe


def plan_folders(
    images: Sequence[Path], clusters: np.ndarray, names: Sequence[str], layout: Layout
) -> OrganizePlan:
    """Decide where each image goes.

    Args:
        images: The file of each image.
        clusters: The cluster of each, -1 for one that is left out. Shape: (num_images,).
        names: What the clusters are called.
        layout: How the folders are laid out.

    Returns:
        The plan; files keep their names, with a number if two of a folder have the same.
    """
    folders, files = folder_names(names), dict[str, Path]()
    sizes: dict[str, int] = {}
    parts = _parts(clusters, layout)
    for cluster, folder in enumerate(folders):
        for part in sorted(set(parts)):
            rows = [
                row for row in np.flatnonzero(clusters == cluster).tolist() if parts[row] == part
            ]
            parent = f"{part}/{folder}" if part else folder
            if rows:
                sizes[parent] = len(rows)
            taken: set[str] = set()
            for place, row in enumerate(rows):
                below = parent
                if layout.largest is not None and len(rows) > layout.largest:
                    below = f"{parent}/{place // layout.largest + 1:04d}"
                files[f"{below}/{_free_name(images[row], taken)}"] = images[row]
    return OrganizePlan(files, sizes, layout.shares is not None)


def _free_name(image: Path, taken: set[str]) -> str:
    stem, suffix, again = _safe(image.stem) or "image", image.suffix, 2
    suffix = suffix if _safe(suffix.removeprefix(".")) == suffix.removeprefix(".") else ""
    name = f"{stem}{suffix}"
    while name.casefold() in taken:
        name, again = f"{stem}-{again}{suffix}", again + 1
    taken.add(name.casefold())
    return name


def _parts(clusters: np.ndarray, layout: Layout) -> list[str]:
    """The part of each image, "" without a split; every cluster is split by the same shares."""
    if layout.shares is None:
        return [""] * len(clusters)
    found = np.full(len(clusters), SPLIT_NAMES[0], object)
    draws = np.random.default_rng(layout.seed)
    for cluster in np.unique(clusters[clusters >= 0]):
        rows = draws.permutation(np.flatnonzero(clusters == cluster))
        stops = np.round(np.cumsum(layout.shares) * len(rows)).astype(int)[:2]
        for name, part in zip(SPLIT_NAMES, np.split(rows, stops), strict=True):
            found[part] = name
    return found.tolist()


def make_folders(plan: OrganizePlan, target: Path, placement: Placement) -> None:
    """Make the folders of a plan, all of them or none.

    Args:
        plan: From `plan_folders`.
        target: The folder to make; it must not exist, nor lie among the images.
        placement: "link", "hardlink" or "copy".

    Raises:
        UserError: If the folder is there, lies among the images, or cannot be written.
    """
    refuse_target(plan, target)
    made: list[dict[str, Any]] = []
    try:
        with atomic_folder(target, replace=False) as folder:
            for name, source in plan.files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                _PLACE[placement](source, path)
                size = None if placement == "link" else path.stat().st_size
                made.append({"path": name, "source": str(source.resolve()), "bytes": size})
            facts = {"placement": placement, "split": plan.split, "files": made}
            write_json(folder / MANIFEST, facts)
    except OSError as error:
        hint = " Use --as copy." if placement == "hardlink" else ""
        raise UserError(
            f"{target} cannot be made: {error.strerror or error}. Nothing is left of it.{hint}"
        ) from error


def refuse_target(plan: OrganizePlan, target: Path) -> None:
    """Refuse a folder that would touch anything that is there.

    Raises:
        UserError: If the folder exists, or lies among the images.
    """
    if target.exists() or target.is_symlink():
        raise UserError(
            f"{target} is there already, and nothing is overwritten. Name a new folder."
        )
    place = target.resolve()
    for parent in {source.resolve().parent for source in plan.files.values()}:
        if place == parent or parent in place.parents:
            raise UserError(
                f"{target} lies inside {parent}, among the images. Name a folder outside."
            )


def _link(source: Path, path: Path) -> None:
    path.symlink_to(source.resolve())


def _hard_link(source: Path, path: Path) -> None:
    os.link(source.resolve(), path)


def _copy(source: Path, path: Path) -> None:
    shutil.copy2(source, path)


_PLACE: Mapping[Placement, Callable[[Path, Path], None]] = {
    "link": _link,
    "hardlink": _hard_link,
    "copy": _copy,
}


def undo_folders(target: Path) -> tuple[int, list[str]]:
    """Remove what `make_folders` made, and nothing else.

    Args:
        target: The folder.

    Returns:
        How many files were removed, links that were moved within the folder among them; and those
        that stay, because they changed since, or are copies that were moved.

    Raises:
        UserError: If the folder has no manifest.
    """
    try:
        listed = json.loads((target / MANIFEST).read_text("utf-8"))["files"]
        made = [(target / one["path"], Path(one["source"]), one["bytes"]) for one in listed]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{target} has no {MANIFEST} that can be read, so there is nothing to undo. Name a "
            "folder that spice organize has made."
        ) from error
    kept, removed = list[str](), 0
    links, copies = _moved(target, made)
    inside = target.resolve()
    for path, source, size in made:
        if inside not in path.parent.resolve().parents and path.parent.resolve() != inside:
            kept.append(str(path))
        elif _is_as_made(path, source, size):
            path.unlink()
            removed += 1
        elif path.exists() or path.is_symlink():
            kept.append(str(path))
    for path in links:
        path.unlink()
    removed, kept = removed + len(links), [*kept, *map(str, copies)]
    if not kept:
        (target / MANIFEST).unlink()
    folders = {path.parent for path, _, _ in made} | {path.parent for path in links}
    for folder in sorted(folders, key=lambda p: -len(p.parts)):
        _remove_empty(folder, target)
    return removed, kept


def _moved(
    target: Path, made: Sequence[tuple[Path, Path, int | None]]
) -> tuple[list[Path], list[Path]]:
    """Find links and other files that were moved within a folder since it was made."""
    there = {path for path, _, _ in made}
    sources = {source for _, source, size in made if size is None}
    gone = {path.name for path, _, _ in made if not (path.exists() or path.is_symlink())}
    found = sorted(set(target.rglob("*")) - there)
    links = [path for path in found if path.is_symlink() and path.readlink() in sources]
    others = [path for path in found if not path.is_symlink() and path.is_file()]
    return links, [path for path in others if path.name in gone]


def _is_as_made(path: Path, source: Path, size: int | None) -> bool:
    if size is None:
        return path.is_symlink() and path.readlink() == source
    return path.is_file() and not path.is_symlink() and path.stat().st_size == size


def _remove_empty(folder: Path, target: Path) -> None:
    """Remove a folder and its parents up to the target, as far as they are empty."""
    while folder == target or target in folder.parents:
        try:
            folder.rmdir()
        except OSError:  # something else lies there
            return
        folder = folder.parent
