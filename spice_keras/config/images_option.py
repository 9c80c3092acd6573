"""What `--images` means: the source of a folder, a file or a TensorFlow Datasets name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from spice_keras.errors import UserError


def source_overrides(images: str) -> dict[str, Any]:
    """Tell what kind of source `--images` names, and name the run after it.

    Args:
        images: A folder, an .npy or .npz file, or tfds:NAME.

    Returns:
        Values by dotted path, for `load_config`.

    Raises:
        UserError: Where there is nothing of that name, or something else.
    """
    if images.startswith("tfds:"):
        name = images.removeprefix("tfds:")
        return {"data.source": "tfds", "data.path": name, "name": run_name(name)}
    path = Path(images)
    if not path.exists():
        raise UserError(f"--images {images}: there is no such file or folder.")
    if path.is_dir():
        return {"data.source": "folder", "data.path": images, "name": run_name(path.resolve().name)}
    if path.suffix not in {".npy", ".npz"}:
        raise UserError(
            f"--images {images} must be a folder, an .npy or .npz file, or tfds:NAME. "
            "For single images of a trained model there is `spice predict`."
        )
    return {"data.source": "arrays", "data.path": images, "name": run_name(path.stem)}


def run_name(text: str) -> str:
    """Make a name a run can have of a file's or folder's."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:64]
    return slug or "images"
