"""New images or embeddings through an exported SavedModel, to a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from spice_keras.data.array_source import ArraySource
from spice_keras.data.decoding import UndecodableImage, decode_image
from spice_keras.data.embedding_source import read_embeddings_file
from spice_keras.data.encoded_source import EncodedSource
from spice_keras.data.folder_source import FolderSource
from spice_keras.data.list_source import ListSource
from spice_keras.data.sources import Decoded, SkippedFile, SourceOptions, one_line_id
from spice_keras.data.tar_source import TarSource
from spice_keras.data.tfrecord_source import ENDINGS, TFRecordSource
from spice_keras.errors import UserError
from spice_keras.options import TableFormat
from spice_keras.run.table import csv_rows, write_table
from spice_keras.serving.facts import ModelFacts, newest_version, read_facts
from spice_keras.serving.safety import refuse_unsafe
from spice_keras.shards.embeddings import EmbeddingShards

HEADER = ("image", "cluster", "confidence", "name")
_SECOND = ("second_choice", "second_probability", "second_name", "unsure")
_BATCH = 256
_FILES_OF_IMAGES: dict[str, type[EncodedSource]] = {
    ".txt": ListSource,
    ".tar": TarSource,
    **dict.fromkeys(ENDINGS, TFRecordSource),
}


@dataclass(frozen=True)
class Predictions:
    """What a model says of new images.

    Attributes:
        images: Their names.
        outputs: Arrays of n rows by name: `cluster`, `confidence`, `name`, and what else the model
            gives: `second_choice`, `second_probability`, `second_name`, `unsure`, `embedding`.
        skipped: Files left out.
    """

    images: tuple[str, ...]
    outputs: dict[str, np.ndarray]
    skipped: tuple[SkippedFile, ...]

    @property
    def clusters(self) -> np.ndarray:
        """Cluster of each image, int32 [n]."""
        return self.outputs["cluster"]

    @property
    def confidence(self) -> np.ndarray:
        """Probability of that cluster, float32 [n]."""
        return self.outputs["confidence"]

    @property
    def names(self) -> tuple[str, ...]:
        """What each one's cluster is called, "" if it has no name."""
        return tuple(self.outputs["name"].tolist())

    def columns(self, *, second: bool = False, embedding: bool = False) -> dict[str, np.ndarray]:
        """Return the table by column.

        Args:
            second: Whether the second choice and the doubt are wanted.
            embedding: Whether the embedding is wanted, one column for each of its features.

        Returns:
            Arrays of n rows, by the name of the column.

        Raises:
            UserError: If the model, written by an older version, does not give them.
        """
        wanted = (*HEADER[1:], *(_SECOND if second else ()))
        missing = [name for name in wanted if name not in self.outputs]
        if missing or (embedding and "embedding" not in self.outputs):
            absent = ", ".join(missing) or "embedding"
            raise UserError(
                f"The model does not give {absent}: an older version wrote it. Export the run "
                "again with `spice export`."
            )
        table = {"image": np.array(self.images, object)}
        table |= {name: self.outputs[name] for name in wanted}
        if embedding:
            features = self.outputs["embedding"].T
            table |= {f"embedding_{place}": column for place, column in enumerate(features)}
        return table

    def rows(self, **wanted: bool) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the CSV table; the arguments are those of `columns`."""
        return csv_rows(self.columns(**wanted))

    def write(self, path: Path, *, table: TableFormat = "csv", **wanted: bool) -> None:
        """Write the table.

        Args:
            path: The file.
            table: CSV or Parquet; Parquet needs pyarrow.
            **wanted: The arguments of `columns`.

        Raises:
            UserError: If pyarrow is missing.
        """
        write_table(path, self.columns(**wanted), table)


def find_model(path: Path, *, exported: Callable[[Path], Path] | None = None) -> Path:
    """Find the SavedModel that is meant: itself, the newest of a name, or a run's own.

    Args:
        path: A SavedModel, saved_models/NAME, or a run directory.
        exported: Gives the SavedModel of a run directory.

    Returns:
        The SavedModel's folder.

    Raises:
        UserError: If there is none.
    """
    if exported is not None and (path / "config.yaml").is_file():
        return exported(path)
    if (path / "saved_model.pb").is_file():
        return path
    newest = newest_version(path)
    if newest is None:
        raise UserError(
            f"{path} is not a SavedModel, and neither a folder of versions nor a run with one; "
            "`spice export` writes saved_models/NAME/VERSION."
        )
    return newest


def load_model(model: Path, *, trust: bool = False) -> tuple[Any, ModelFacts]:
    """Load a SavedModel that `spice export` wrote, after a look at its graph.

    Args:
        model: Its folder.
        trust: Whether it may hold operations that do more than compute.

    Returns:
        What `tf.saved_model.load` gives, and its facts.

    Raises:
        UserError: If it is damaged, foreign, or not to be trusted.
    """
    facts = read_facts(model)
    if not trust:
        refuse_unsafe(model)
    try:
        loaded = tf.saved_model.load(str(model))
        needed = {"serving_default"} if facts.of_embeddings else {"images"}
        missing = needed - set(loaded.signatures)
    except Exception as error:  # damaged variables raise nearly anything
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(
            f"The SavedModel {model} does not load: {said}. Export the run again with "
            "`spice export`."
        ) from error
    if missing:
        raise UserError(f"The SavedModel {model} does not load: no signature {missing.pop()}.")
    return loaded, facts


def _single(path: Path, facts: ModelFacts) -> Decoded | SkippedFile:
    try:
        return Decoded(one_line_id(str(path)), decode_image(path, **facts.decoding()))
    except UndecodableImage as error:
        return SkippedFile(one_line_id(str(path)), str(error))


def _items(inputs: Sequence[Path], facts: ModelFacts) -> Iterator[Decoded | SkippedFile]:
    size, fit, most, known = facts.decoding().values()
    for path in inputs:
        if path.is_dir():
            folder = one_line_id(str(path))
            source = FolderSource(path, size, fit, most, levels=known)
            for item in source.items():
                if isinstance(item, Decoded):
                    yield Decoded(f"{folder}/{item.id}", item.image)
                else:
                    yield SkippedFile(f"{folder}/{item.path}", item.reason)
        elif path.suffix in {".npy", ".npz"}:
            stated = known.integers if known is not None and known.overrules else None
            yield from ArraySource(path, size, fit, stated).items()
        elif path.suffix in _FILES_OF_IMAGES and path.is_file():
            options = SourceOptions(path=str(path), image_size=size, fit=fit, max_pixels=most)
            encoded = _FILES_OF_IMAGES[path.suffix].open(options)
            encoded.use_levels(known)
            yield from encoded.items()
        elif path.exists():
            yield _single(path, facts)
        else:
            raise UserError(f"There is no file or folder {path}.")


class Predictor:
    """An exported model that is loaded, called on batches.

    Args:
        model: A SavedModel that `spice export` wrote, or the folder of its versions.
        trust: Whether the graph may hold operations that do more than compute.

    Attributes:
        model: The SavedModel's folder.
        facts: Its facts.

    Raises:
        UserError: If the model cannot be used.
    """

    def __init__(self, model: Path, *, trust: bool = False) -> None:
        self.model = find_model(model)
        loaded, self.facts = load_model(self.model, trust=trust)
        self._signatures = loaded.signatures
        if self.facts.of_embeddings:
            self._input, self._endpoint = "embeddings", self._signatures["serving_default"]
        else:
            # Squares need no resize; a model of an older version resizes them to themselves.
            self._input = "pixels" if "pixels" in self._signatures else "images"
            self._endpoint = self._signatures[self._input]

    def __call__(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Sort a batch.

        Args:
            batch: uint8 [B, S, S, 3]; for a model of embeddings float32 [B, D].

        Returns:
            Arrays of B rows, by name: see `Predictions.outputs`.
        """
        return _told(self._endpoint(**{self._input: tf.constant(batch)}), self.facts)

    def empty(self) -> dict[str, np.ndarray]:
        """Return what a batch of no items gives: arrays of no rows, of the right types."""
        side = self.facts.image_size
        one = (
            np.zeros((1, self.facts.num_features or 0), np.float32)
            if self.facts.of_embeddings
            else np.zeros((1, side or 0, side or 0, 3), np.uint8)
        )
        return {name: array[:0] for name, array in self(one).items()}

    def refuse_width(self, num_features: int, path: Path) -> None:
        """Refuse embeddings of another width than the model takes.

        Args:
            num_features: D of the embeddings.
            path: Where they lie.

        Raises:
            UserError: If the model takes another.
        """
        if num_features != self.facts.num_features:
            raise UserError(
                f"The model takes embeddings of {self.facts.num_features} features. Received: "
                f"{path} with {num_features}."
            )


def predict(model: Path, inputs: Sequence[Path], *, trust: bool = False) -> Predictions:
    """Sort new images, or embeddings, with an exported model.

    Args:
        model: A SavedModel that `spice export` wrote, or the folder of its versions.
        inputs: Image files, folders, .npy or .npz arrays, .txt lists, tar or TFRecord shards; for
            a model of embeddings, files of those, or folders of them in shards.
        trust: Whether the graph may hold operations that do more than compute.

    Returns:
        What the model says of every readable item, and the files left out.

    Raises:
        UserError: If the model or an input cannot be used, or nothing is readable.
    """
    predictor = Predictor(model, trust=trust)
    images: list[str] = []
    skipped: list[SkippedFile] = []
    said: list[dict[str, np.ndarray]] = []
    batches = (
        _embedding_batches(inputs, predictor)
        if predictor.facts.of_embeddings
        else _image_batches(inputs, predictor.facts, skipped)
    )
    for ids, batch in batches:
        images += ids
        said.append(predictor(batch))
    if not images:
        reasons = "; ".join(f"{item.path}: {item.reason}" for item in skipped[:3])
        raise UserError(f"None of the {len(skipped)} files is a readable image ({reasons}).")
    outputs = {key: np.concatenate([part[key] for part in said]) for key in said[0]}
    return Predictions(tuple(images), outputs, tuple(skipped))


def _told(outputs: dict[str, tf.Tensor], facts: ModelFacts) -> dict[str, np.ndarray]:
    """The outputs as arrays, texts decoded; the name of the second choice beside its number."""
    found = {key: value.numpy() for key, value in outputs.items() if key != "probabilities"}
    # Models that an older version wrote give no names.
    texts = found.get("name", [b""] * len(found["cluster"]))
    found["name"] = np.array([text.decode("utf-8", "replace") for text in texts], object)
    if "second_choice" in found:
        names = facts.names or ("",) * facts.num_clusters
        found["second_name"] = np.array([names[place] for place in found["second_choice"]], object)
    return found


def _image_batches(
    inputs: Sequence[Path], facts: ModelFacts, skipped: list[SkippedFile]
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield names and pixels; files left out go to `skipped`."""
    items = _items(inputs, facts)
    while chunk := list(islice(items, _BATCH)):
        decoded = [item for item in chunk if isinstance(item, Decoded)]
        skipped += [item for item in chunk if isinstance(item, SkippedFile)]
        if decoded:
            yield [item.id for item in decoded], np.stack([item.image for item in decoded])


def _embedding_batches(
    inputs: Sequence[Path], predictor: Predictor
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield names and embeddings, file by file."""
    for ids, features, path in _embeddings(inputs):
        predictor.refuse_width(features.shape[1], path)
        for start in range(0, len(ids), _BATCH):
            rows = slice(start, start + _BATCH)
            yield list(ids[rows]), np.asarray(features[rows], np.float32)


def _embeddings(inputs: Sequence[Path]) -> Iterator[tuple[Sequence[str], np.ndarray, Path]]:
    """Yield ids and rows, file by file, shard by shard."""
    for path in inputs:
        if path.is_dir():
            for _, ids, rows in EmbeddingShards(path).shards():
                yield ids, rows, path
        else:
            found = read_embeddings_file(path)
            yield found.ids, found.features, path
