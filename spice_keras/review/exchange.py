"""Decisions in other tools' formats: a CSV table, Label Studio's JSON, FiftyOne's labels."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spice_keras.csv_cells import plain_cell
from spice_keras.errors import UserError
from spice_keras.files import write_csv, write_json
from spice_keras.options import ExchangeFormat
from spice_keras.organize import MANIFEST, folder_names
from spice_keras.review.edits import LONGEST_NAME, Change, Exclude, Move, NewCluster
from spice_keras.review.effective import effective
from spice_keras.review.log import EditLog
from spice_keras.review.state import ReviewState

_EXCLUDED = "excluded"


def export_clusters(
    state: ReviewState, confidence: np.ndarray, path: Path, file_format: ExchangeFormat
) -> int:
    """Write the clusters as they stand.

    Args:
        state: The clusters after all edits.
        confidence: Of each image. Shape: (num_images,).
        path: The file.
        file_format: "csv": `image,cluster`. "label-studio": tasks with one prediction each.
            "fiftyone": the labels of a FiftyOneImageClassificationDataset.

    Returns:
        How many images were written; excluded ones are left out.
    """
    found = effective(state)
    names = cluster_titles(found.keys, found.names)
    rows = np.flatnonzero(found.clusters >= 0).tolist()
    told = [(state.ids[row], names[found.clusters[row]], float(confidence[row])) for row in rows]
    if file_format == "csv":
        write_csv(path, ["image", "cluster"], [(i, n) for i, n, _ in told])
    elif file_format == "label-studio":
        write_json(path, [_task(*one) for one in told])
    else:
        number = {name: place for place, name in enumerate(names)}
        labels = {image.rpartition(".")[0] or image: number[name] for image, name, _ in told}
        write_json(path, {"classes": names, "labels": labels})
    return len(told)


def _task(image: str, name: str, score: float) -> dict[str, Any]:
    """One task of Label Studio; its labelling configuration has Choices named `choice`."""
    choice = {
        "from_name": "choice",
        "to_name": "image",
        "type": "choices",
        "value": {"choices": [name]},
    }
    prediction = {"model_version": "spice", "score": score, "result": [choice]}
    return {"data": {"image": image}, "predictions": [prediction]}


def cluster_titles(keys: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return a different title for each cluster: its name, with its key if another has the same.

    Args:
        keys: The clusters.
        names: What they are called, "" for nothing.

    Returns:
        As many titles.
    """
    found = []
    for key, name in zip(keys, names, strict=True):
        clear = name and list(names).count(name) == 1 and name not in keys
        found.append(name if clear else f"{name} ({key})" if name else key)
    return found


def import_clusters(
    log: EditLog, source: Path, files: Mapping[str, str] | None = None
) -> tuple[int, list[str]]:
    """Take decisions from a file or a folder, as edits of their own.

    An image that is named with another cluster than its own is moved; a name that no cluster has
    makes a new one; `excluded` leaves an image out. Images that are not named stay.

    Args:
        log: The run's edits; new ones are appended.
        source: A CSV file with the columns `image` and `cluster`, FiftyOne's labels, Label Studio's
            export, or a folder of `spice organize` in which files were moved.
        files: The image behind each file, by the file's full path; a folder needs them.

    Returns:
        How many images were moved, and the names that are not in the run.

    Raises:
        UserError: If it is none of these, or names no image of the run.
    """
    asked = _read(source, files or {})
    rows, unknown = _matched(asked, log.state)
    if asked and not rows:
        raise UserError(
            f"None of the {len(asked)} images that {source} names is in this run. The run names "
            f"them like {log.state.ids[0]}."
        )
    moved = 0
    for name, items in _by_name(rows, log.state).items():
        log.append(_edit(name, items, log.state))
        moved += len(items)
    return moved, unknown


def _by_name(rows: Mapping[int, str], state: ReviewState) -> dict[str, list[str]]:
    """The images to move, by the name of where they go."""
    keys = _keys_by_name(state)
    moves: dict[str, list[str]] = {}
    for row, name in rows.items():
        there = name == _EXCLUDED if state.excluded[row] else keys.get(name) == state.key_of(row)
        if not there:
            moves.setdefault(name, []).append(state.ids[row])
    return moves


def _keys_by_name(state: ReviewState) -> dict[str, str]:
    """The cluster behind everything it may be called: title, folder, key, number."""
    found = effective(state)
    folders = folder_names(found.names)
    titles = cluster_titles(found.keys, found.names)
    numbers = {key[1:]: key for key in state.groups if key[0] == "c"}
    keys = {key: key for key in state.groups}
    by_folder = dict(zip(folders, found.keys, strict=True))
    return numbers | by_folder | keys | dict(zip(titles, found.keys, strict=True))


def _edit(name: str, items: list[str], state: ReviewState) -> Change:
    if name == _EXCLUDED:
        return Exclude(items=tuple(items))
    keys = _keys_by_name(state)
    if name in keys:
        return Move(items=tuple(items), group=keys[name])
    return NewCluster(items=tuple(items), group=state.free_key(), name=name[:LONGEST_NAME])


def _matched(asked: Mapping[str, str], state: ReviewState) -> tuple[dict[int, str], list[str]]:
    """Find the rows of the images: by id, or by id without its ending if that is unique."""
    stems: dict[str, list[int]] = {}
    for row, item in enumerate(state.ids):
        stems.setdefault(item.rpartition(".")[0] or item, []).append(row)
    found: dict[int, str] = {}
    unknown = []
    for image, name in asked.items():
        rows = [state.row_of[image]] if image in state.row_of else stems.get(image, [])
        if len(rows) == 1:
            found[rows[0]] = name.strip()
        else:
            unknown.append(image)
    return found, unknown


def _read(source: Path, files: Mapping[str, str]) -> dict[str, str]:
    """The cluster of each image that a file or folder names."""
    try:
        if source.is_dir():
            return _read_folder(source, files)
        if source.suffix.lower() == ".csv":
            with source.open(newline="", encoding="utf-8-sig") as file:
                table = csv.DictReader(file)
                if not {"image", "cluster"} <= set(table.fieldnames or ()):
                    raise ValueError("it has no columns image and cluster")
                return {plain_cell(row["image"]): plain_cell(row["cluster"]) for row in table}
        return _read_json(json.loads(source.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(
            f"{source} cannot be read ({error}). Give a CSV file with the columns image and "
            "cluster, FiftyOne's labels.json, an export of Label Studio, or a folder that spice "
            "organize has made."
        ) from error


def _read_json(content: Any) -> dict[str, str]:
    if isinstance(content, dict):  # FiftyOne
        classes = content.get("classes", ())
        return {
            image: str(classes[label] if isinstance(label, int) else label)
            for image, label in content["labels"].items()
        }
    found = {}
    for task in content:
        made = task.get("annotations") or task.get("predictions") or []
        results = made[0]["result"] if made else []
        if results:
            found[task["data"]["image"]] = str(results[0]["value"]["choices"][0])
    return found


def _read_folder(folder: Path, sources: Mapping[str, str]) -> dict[str, str]:
    """What a person made of a folder of `spice organize`: files may have been moved in it.

    A file that was moved is known by its name if no other has it, and a link by where it leads.
    """
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    level = int(manifest["split"])
    made = {one["path"]: sources.get(one["source"], one["source"]) for one in manifest["files"]}
    by_name: dict[str, list[str]] = {}
    for path, image in made.items():
        by_name.setdefault(path.rpartition("/")[2], []).append(image)
    found = {}
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder).as_posix()
        places = path.split("/")
        if file.is_dir() or len(places) < level + 2:
            continue
        if file.is_symlink():
            images = [sources[str(file.resolve())]] if str(file.resolve()) in sources else []
        else:
            images = [made[path]] if path in made else by_name.get(file.name, [])
        if len(images) == 1:
            found[images[0]] = places[level]
    return found
