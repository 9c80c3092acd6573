"""New images or embeddings through an exported SavedModel, to a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from spice_keras.data.array_source import ArraySource
from spice_keras.data.decoding import UndecodableImage, decode_image
from spice_keras.data.embedding_source import read_embeddings_file
from spice_keras.data.folder_source import FolderSource
from spice_keras.data.levels import KnownLevels
from spice_keras.data.sources import Decoded, SkippedFile, one_line_id
from spice_keras.errors import UserError
from spice_keras.files import write_csv

HEADER = ("image", "cluster", "confidence", "name")
_BATCH = 256


@dataclass(frozen=True)
class Predictions:
    """What a model says of new images.

    Attributes:
        images: Their names.
        clusters: int32 [n].
        confidence: float32 [n].
        names: What each one's cluster is called, "" if it has no name.
        skipped: Files left out.
    """

    images: tuple[str, ...]
    clusters: np.ndarray
    confidence: np.ndarray
    names: tuple[str, ...]
    skipped: tuple[SkippedFile, ...]

    def rows(self) -> Iterator[tuple[str, int, str, str]]:
        """Yield the rows of the CSV table."""
        columns = zip(self.images, self.clusters, self.confidence, self.names, strict=True)
        for image, cluster, sure, name in columns:
            yield image, int(cluster), f"{sure:.6f}", name

    def write(self, path: Path) -> None:
        """Write the table."""
        write_csv(path, HEADER, self.rows())


def _facts(model: Path) -> dict[str, Any]:
    """Read what `spice export` wrote beside the SavedModel."""
    if not (model / "saved_model.pb").is_file():
        versions = sorted(p.name for p in model.glob("*") if (p / "saved_model.pb").is_file())
        hint = f" It holds versions {', '.join(versions)}: name one." if versions else ""
        raise UserError(
            f"{model} is not a SavedModel; `spice export` writes saved_models/NAME/VERSION.{hint}"
        )
    try:
        facts: dict[str, Any] = json.loads((model / "spice.json").read_text("utf-8"))
        if "num_features" in facts:
            return {"num_features": facts["num_features"]}
        levels = KnownLevels.from_dict(facts["levels"]) if "levels" in facts else None
        return {key: facts[key] for key in ("image_size", "fit", "max_pixels")} | {"levels": levels}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{model} is a SavedModel, but `spice export` did not write it: it has no readable "
            "spice.json."
        ) from error


def _single(path: Path, facts: dict[str, Any]) -> Decoded | SkippedFile:
    try:
        return Decoded(one_line_id(str(path)), decode_image(path, **facts))
    except UndecodableImage as error:
        return SkippedFile(one_line_id(str(path)), str(error))


def _items(inputs: Sequence[Path], facts: dict[str, Any]) -> Iterator[Decoded | SkippedFile]:
    size, fit = facts["image_size"], facts["fit"]
    for path in inputs:
        if path.is_dir():
            folder = one_line_id(str(path))
            source = FolderSource(path, size, fit, facts["max_pixels"], levels=facts["levels"])
            for item in source.items():
                if isinstance(item, Decoded):
                    yield Decoded(f"{folder}/{item.id}", item.image)
                else:
                    yield SkippedFile(f"{folder}/{item.path}", item.reason)
        elif path.suffix in {".npy", ".npz"}:
            known = facts["levels"]
            stated = known.integers if known is not None and known.overrules else None
            yield from ArraySource(path, size, fit, stated).items()
        elif path.exists():
            yield _single(path, facts)
        else:
            raise UserError(f"There is no file or folder {path}.")


def predict(model: Path, inputs: Sequence[Path]) -> Predictions:
    """Sort new images, or embeddings, with an exported model.

    Args:
        model: A SavedModel that `spice export` wrote.
        inputs: Image files, folders, .npy or .npz arrays; for a model of embeddings, files of
            those.

    Returns:
        Cluster and confidence of every readable item, and the files left out.

    Raises:
        UserError: If the model or an input cannot be used, or nothing is readable.
    """
    facts = _facts(model)
    of_embeddings = "num_features" in facts
    try:
        loaded = tf.saved_model.load(str(model))
        endpoint = loaded.signatures["serving_default" if of_embeddings else "images"]
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"The SavedModel {model} does not load: {error}") from error
    images: list[str] = []
    skipped: list[SkippedFile] = []
    clusters, confidence, names = [], [], []
    if of_embeddings:
        batches = _embedding_batches(inputs, facts["num_features"])
    else:
        batches = _image_batches(inputs, facts, skipped)
    for ids, arguments in batches:
        outputs = endpoint(**arguments)
        images += ids
        clusters.append(outputs["cluster"].numpy())
        confidence.append(outputs["confidence"].numpy())
        # Models that an older version wrote give no names.
        found = outputs["name"].numpy() if "name" in outputs else [b""] * len(ids)
        names += [name.decode() for name in found]
    if not images:
        reasons = "; ".join(f"{item.path}: {item.reason}" for item in skipped[:3])
        raise UserError(f"None of the {len(skipped)} files is a readable image ({reasons}).")
    return Predictions(
        tuple(images),
        np.concatenate(clusters),
        np.concatenate(confidence),
        tuple(names),
        tuple(skipped),
    )


def _image_batches(
    inputs: Sequence[Path], facts: dict[str, Any], skipped: list[SkippedFile]
) -> Iterator[tuple[list[str], dict[str, tf.Tensor]]]:
    """Yield names and endpoint arguments; files left out go to `skipped`."""
    items = _items(inputs, facts)
    while chunk := list(islice(items, _BATCH)):
        decoded = [item for item in chunk if isinstance(item, Decoded)]
        skipped += [item for item in chunk if isinstance(item, SkippedFile)]
        if decoded:
            images = tf.constant(np.stack([item.image for item in decoded]))
            yield [item.id for item in decoded], {"images": images}


def _embedding_batches(
    inputs: Sequence[Path], num_features: int
) -> Iterator[tuple[list[str], dict[str, tf.Tensor]]]:
    """Yield names and endpoint arguments, file by file."""
    for path in inputs:
        found = read_embeddings_file(path)
        if found.features.shape[1] != num_features:
            raise UserError(
                f"The model takes embeddings of {num_features} features. Received: {path} with "
                f"{found.features.shape[1]}."
            )
        for start in range(0, len(found.ids), _BATCH):
            rows = slice(start, start + _BATCH)
            yield list(found.ids[rows]), {"embeddings": tf.constant(found.features[rows])}
