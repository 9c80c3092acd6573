"""The trained clusterer as a SavedModel, checked in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from spice_keras.files import give_number, reserve, unnumbered_folder, write_json
from spice_keras.models.clusterer import (
    build_clusterer,
    clusterer_from_network,
    embedding_clusterer,
)
from spice_keras.run.context import Context
from spice_keras.run.exporting import claim_export, remove_unnoted_export
from spice_keras.run.networks import chosen_head, head_encoder, merged_clusters, semi_network
from spice_keras.run.results import final_result, network_clustering
from spice_keras.run.storage import explained_export
from spice_keras.run.store import Export, Items, Names
from spice_keras.serving.card import write_card
from spice_keras.serving.check import Checker
from spice_keras.serving.facts import FILE as FACTS_FILE
from spice_keras.serving.facts import ModelFacts
from spice_keras.serving.signatures import export_clusterer, export_embedding_clusterer
from spice_keras.stages.model_card import model_card
from spice_keras.stages.name import names_of
from spice_keras.training.checkpoints import model_bytes

_CHECKED_ITEMS = 16
_AGREEING = 0.95


def build_final_clusterer(context: Context) -> keras.Model:
    """Rebuild the inference model of a finished run: images, or embeddings, to clusters."""
    config, merge = context.config, merged_clusters(context)
    if not context.has_images:
        return embedding_clusterer(chosen_head(context), merge)
    if config.semi.enabled:
        return clusterer_from_network(semi_network(context), merge)
    return build_clusterer(head_encoder(context), chosen_head(context), merge)


def unsure_threshold(context: Context) -> float:
    """Return the confidence below which an answer is in doubt.

    Args:
        context: The run.

    Returns:
        What the configuration says, or the threshold of `calibrated_threshold`.
    """
    chosen = context.config.export.unsure_below
    if chosen is not None:
        return chosen
    result = final_result(context)
    return calibrated_threshold(result.confidence, result.agrees)


def calibrated_threshold(confidence: np.ndarray, agrees: np.ndarray) -> float:
    """Find the confidence from which on items agree with their neighbours.

    Args:
        confidence: float [N], N >= 1.
        agrees: bool [N], whether most of an item's neighbours are in its cluster.

    Returns:
        The smallest confidence of an item such that of the items with this confidence or more at
        least 95 % agree; 1 if there is none.
    """
    order = np.argsort(-confidence, kind="stable")
    sorted_confidence = confidence[order]
    share = np.cumsum(agrees[order]) / np.arange(1, len(order) + 1)
    # Items of one confidence stand or fall together.
    last_of_its_kind = np.append(sorted_confidence[:-1] != sorted_confidence[1:], True)
    good = np.flatnonzero((share >= _AGREEING) & last_of_its_kind)
    return float(sorted_confidence[good[-1]]) if len(good) else 1.0


def model_facts(context: Context) -> ModelFacts:
    """Gather what a client of the exported model needs to know.

    Args:
        context: The run; its training stages are finished.

    Returns:
        The facts that go into spice.json.
    """
    data = context.config.data
    names = (context.load(Names) if context.run.has(Names.name) else names_of(context)).texts
    facts: dict[str, Any] = {
        "num_clusters": context.config.num_clusters,
        "names": names,
        "unsure_below": unsure_threshold(context),
    }
    if context.has_images:
        facts |= {key: getattr(data, key) for key in ("image_size", "fit", "max_pixels")}
        facts["levels"] = context.load(Items).levels or None
    else:
        facts["num_features"] = int(context.given_features.shape[1])
    return ModelFacts(**facts)


def run_items(context: Context, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Take items of the run, evenly over its rows.

    Args:
        context: The run.
        count: How many, at most.

    Returns:
        Their rows, int64 [n]; and the images uint8 [n, S, S, 3], or embeddings float32 [n, D].
    """
    items = context.images if context.has_images else context.given_features
    rows = np.unique(np.linspace(0, len(items) - 1, count).astype(np.int64))
    return rows, np.asarray(items[rows])


@dataclass(frozen=True)
class WrittenModel:
    """A SavedModel that has no number yet, while a process of its own is asked about it.

    Attributes:
        folder: Where it lies.
        facts: What a client needs to know of it.
        checker: The process that was asked.
        probabilities: float32 [n, K], what the run says of the items it was asked about.
    """

    folder: Path
    facts: ModelFacts
    checker: Checker
    probabilities: np.ndarray


@contextmanager
def written_model(context: Context) -> Iterator[WrittenModel]:
    """Write the SavedModel of a run under another name, and begin its check.

    Args:
        context: The run; its training stages are finished.

    Yields:
        What `export` puts in place. If the block ends without that, nothing is left of it.

    Raises:
        UserError: If the folder cannot be written.
    """
    with Checker() as checker, ExitStack() as held:
        with explained_export(context.config):
            folder = held.enter_context(unnumbered_folder(context.config.model_folder))
            facts = _write(context, folder)
        rows, items = run_items(context, _CHECKED_ITEMS)
        checker.ask(folder, items)
        yield WrittenModel(folder, facts, checker, network_clustering(context).probabilities[rows])


def _write(context: Context, folder: Path) -> ModelFacts:
    """Write the SavedModel and its facts."""
    clusterer = build_final_clusterer(context)
    reserve(folder, model_bytes(clusterer))  # TensorFlow says less well that a disk is full
    facts = model_facts(context)
    unsure = facts.unsure_below or 0.0
    if facts.of_embeddings:
        export_embedding_clusterer(clusterer, folder, names=facts.names, unsure_below=unsure)
    else:
        export_clusterer(
            clusterer,
            folder,
            names=facts.names,
            unsure_below=unsure,
            fit=context.config.data.fit,
            max_pixels=context.config.data.max_pixels,
            deep_range=facts.deep_range,
        )
    write_json(folder / FACTS_FILE, facts.model_dump(exclude_none=True))
    return facts


def export(context: Context, model: WrittenModel | None = None) -> Path:
    """Write the SavedModel NAME/VERSION, check it, and note it in the artifact `export`.

    The version is the next free number, as TensorFlow Serving counts them. Runs that export to one
    NAME at the same time get different versions.

    Args:
        context: The run; its training stages are finished.
        model: The SavedModel, if it is written already; its check is waited for.

    Returns:
        The SavedModel's folder.

    Raises:
        UserError: If the folder cannot be written.
    """
    if model is None:
        with written_model(context) as written:
            return export(context, written)
    with explained_export(context.config):
        model.checker.verify(model.probabilities)
        described = {
            "format": "savedmodel",
            "compared with the run": f"{len(model.probabilities)} items",
        }
        write_card(model.folder, model_card(context, model.facts, described))
        claim_export(context.run, model.folder)
        target = give_number(model.folder)
    context.save(Export(target))
    remove_unnoted_export(context.run)
    context.screen.say(f"export: {target} (loaded and checked in a separate process).")
    return target
