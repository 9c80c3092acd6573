"""What `--images`, `--embeddings` and `--backbone` mean: a source, an encoder, a configuration."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from spice_keras.errors import UserError
from spice_keras.options import BACKBONES, LITE0

_KINDS = {
    ".npy": "arrays",
    ".npz": "arrays",
    ".txt": "list",
    ".tar": "tar",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
}


def source_overrides(images: str) -> dict[str, Any]:
    """Tell what kind of source `--images` names, and name the run after it.

    Args:
        images: A folder of images or of shards, a .txt list of paths, a tar or TFRecord shard, an
            .npy or .npz file, or tfds:NAME.

    Returns:
        Values by dotted path, for `load_config`.

    Raises:
        UserError: If there is nothing of that name, or it is something else.
    """
    if images.startswith("tfds:"):
        name = images.removeprefix("tfds:")
        return {"data.source": "tfds", "data.path": name, "name": run_name(name)}
    path = Path(images)
    if not path.exists():
        raise UserError(f"--images {images}: there is no such file or folder.")
    kind = source_kind(path)
    if kind is None:
        raise UserError(
            f"--images {images} must be a folder, a list of paths (.txt), shards (.tar or "
            ".tfrecord), an .npy or .npz file, or tfds:NAME. "
            "To sort single images with a trained model, use `spice predict`."
        )
    return _files(kind, images, path.resolve().name if path.is_dir() else path.stem)


def source_kind(path: Path) -> str | None:
    """Tell what kind of source a file or folder is.

    Args:
        path: It exists.

    Returns:
        A name of `spice_keras.options.SOURCES`; None if it is something else.
    """
    return (_shards_in(path) or "folder") if path.is_dir() else _KINDS.get(path.suffix)


def _shards_in(folder: Path) -> str | None:
    """Tell whether the files right below a folder are shards: of which kind."""
    kinds: set[str] = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            ending = Path(entry.name).suffix
            if entry.name.startswith(".") or ending == ".json" or not entry.is_file():
                continue
            kind = _KINDS.get(ending)
            if kind not in ("tar", "tfrecord"):
                return None  # most folders: the first file says so
            kinds.add(kind)
    return kinds.pop() if len(kinds) == 1 else None


def _files(source: str, path: str, name: str) -> dict[str, Any]:
    """Name files as the source, and drop the parts of TensorFlow Datasets."""
    parts = {"data.test_split": None, "data.extra_split": None, "data.label_key": "label"}
    return {"data.source": source, "data.path": path, "name": run_name(name), **parts}


def embeddings_overrides(path: str) -> dict[str, Any]:
    """Name a file of embeddings as the source, and the run after it.

    Args:
        path: An .npy or .npz file, or a folder of shards.

    Returns:
        Values by dotted path, for `load_config`.

    Raises:
        UserError: If there is no such file or folder.
    """
    if not Path(path).exists():
        raise UserError(
            f"--embeddings {path}: there is no such file. Give an .npy or .npz file, or a folder "
            "that `spice embed` wrote."
        )
    return {
        "data.source": "embeddings",
        "data.path": path,
        "name": run_name(Path(path).resolve().stem),
    }


def folder_config(backbone: str | None) -> tuple[str, str | None]:
    """Choose the configuration of a user's own images if none is named.

    Args:
        backbone: What `--backbone` says, if anything.

    Returns:
        Name of a shipped configuration; and the reason, unless the user made the choice.
    """
    if backbone is not None:
        scratch = backbone in BACKBONES and not BACKBONES[backbone].pretrained
        return ("folder" if scratch else "pretrained"), None
    return "pretrained", (
        f"Encoder: {LITE0}, trained with the labels of ImageNet; the usual choice for photographs. "
        "`--backbone small_resnet` trains one on these images alone, without any label."
    )


def run_name(text: str) -> str:
    """Turn the name of a file or folder into one that a run can have."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:64]
    return slug or "images"
