"""The trained clusterer as a SavedModel, checked in a process of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np

from spice_keras.errors import UserError
from spice_keras.files import atomic_folder, write_json
from spice_keras.models.clusterer import (
    build_clusterer,
    clusterer_from_network,
    embedding_clusterer,
)
from spice_keras.run.context import Context
from spice_keras.run.networks import chosen_head, head_encoder, semi_network
from spice_keras.run.results import final_result
from spice_keras.run.store import Export, Items, Names
from spice_keras.serving.check import Checker
from spice_keras.serving.signatures import export_clusterer, export_embedding_clusterer
from spice_keras.stages.name import names_of

_CHECKED_ITEMS = 16


def build_final_clusterer(context: Context) -> keras.Model:
    """Rebuild the inference model of a finished run: images, or embeddings, to clusters."""
    config = context.config
    if not context.has_images:
        return embedding_clusterer(chosen_head(context))
    if config.semi.enabled:
        return clusterer_from_network(semi_network(context))
    return build_clusterer(head_encoder(context), chosen_head(context))


def next_version(folder: Path) -> int:
    """Return the next free version number, as TensorFlow Serving counts them."""
    numbers = [int(p.name) for p in folder.glob("*") if re.fullmatch("[0-9]+", p.name)]
    return max(numbers, default=0) + 1


def _write_and_verify(context: Context, folder: Path, checker: Checker) -> None:
    """Write the SavedModel with the facts `spice predict` needs, and ask it about some items."""
    data = context.config.data
    clusterer = build_final_clusterer(context)
    probabilities = final_result(context).probabilities
    rows = np.linspace(0, len(probabilities) - 1, _CHECKED_ITEMS).astype(np.int64)
    rows = np.unique(rows)
    names = (context.load(Names) if context.run.has(Names.name) else names_of(context)).texts
    facts: dict[str, Any] = {"num_clusters": context.config.num_clusters, "names": names}
    if context.has_images:
        export_clusterer(clusterer, folder, image_size=data.image_size, fit=data.fit, names=names)
        facts |= {key: getattr(data, key) for key in ("image_size", "fit", "max_pixels")}
        if found := context.load(Items).levels:
            facts["levels"] = found
        items = np.asarray(context.images[rows])
    else:
        export_embedding_clusterer(clusterer, folder, names=names)
        items = context.given_features[rows]
        facts["num_features"] = items.shape[1]
    write_json(folder / "spice.json", facts)
    checker.verify(folder, items, probabilities[rows])


def export(context: Context) -> Path:
    """Write the SavedModel NAME/VERSION, check it, and note it in the artifact `export`.

    Args:
        context: The run; its training stages are finished.

    Returns:
        The SavedModel's folder.

    Raises:
        UserError: If the folder cannot be written.
    """
    section = context.config.export
    parent = Path(section.directory) / (section.name or context.config.name)
    target = parent / str(next_version(parent))
    try:
        with Checker() as checker, atomic_folder(target, replace=False) as folder:
            _write_and_verify(context, folder, checker)
    except OSError as error:
        raise UserError(
            f"The SavedModel cannot be written to {parent}: {error.strerror or error}. Name "
            "another place with --set export.directory=FOLDER."
        ) from error
    context.save(Export(target))
    context.screen.say(f"export: {target} (loaded and checked in a separate process).")
    return target
