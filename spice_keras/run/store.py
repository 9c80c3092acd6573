"""The artifacts of a run: one dataclass each, with the files it lies in.

`Context.load` reads one, `Context.save` writes one. Large arrays are memory-mapped, so that an
artifact costs little until it is used. File names stand here and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from spice_keras.algorithm.feature_space import FeatureSpace, feature_space
from spice_keras.files import file_table, write_json
from spice_keras.heads.classifier import MultiHeadClassifier
from spice_keras.metrics.calibration import tempered
from spice_keras.scratch import row_blocks
from spice_keras.words.naming import ClusterName

_PROBABILITIES, _ENCODER, _SPACE = "probabilities.npy", "encoder", "space.json"
_ROWS = 4096


class Artifact(Protocol):
    """What a stage leaves in the run directory.

    Attributes:
        name: Name of its folder, below `artifacts/`.
        stage: The stage that writes it, as the manifest says.
        command: The command that writes it, for messages.
    """

    name: ClassVar[str]
    stage: ClassVar[str]
    command: ClassVar[str]

    def save(self, folder: Path) -> None:
        """Write it into an empty folder."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it from its folder, which was checked."""


def _array(folder: Path, name: str) -> np.ndarray:
    array: np.ndarray = np.load(folder / name, mmap_mode="r", allow_pickle=False)
    return array


def _optional_array(folder: Path, name: str) -> np.ndarray | None:
    return _array(folder, name) if (folder / name).is_file() else None


def _json(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text("utf-8"))


@dataclass(frozen=True)
class Items:
    """The items of a run: images brought to one size, or embeddings that were given.

    Pixels and given embeddings are written row by row, before the rest is saved: see `pixels_file`
    and `features_file`.

    Attributes:
        ids: Their names, in the order of the rows.
        skipped: Files left out, with the reasons.
        content_hash: SHA-256 of names and content.
        parts: Items of each part, and `duplicates_removed`; empty in a run of one part.
        features: Embeddings that were given, float32 [N, D]; None in a run of images.
        levels: What is black and white in pictures of more than eight bits, as
            `spice_keras.data.levels.KnownLevels` has it; empty if there were none.
    """

    name: ClassVar[str] = "images"
    stage: ClassVar[str] = "ingest"
    command: ClassVar[str] = "pretrain"

    ids: list[str]
    skipped: list[tuple[str, str]]
    content_hash: str | None = None
    parts: Mapping[str, int | None] = field(default_factory=dict)
    features: np.ndarray | None = None
    levels: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def pixels_file(folder: Path) -> Path:
        """Where the pixels lie, uint8 [N, S, S, 3]."""
        return folder / "images.npy"

    @staticmethod
    def features_file(folder: Path) -> Path:
        """Where given embeddings lie, float32 [N, D]."""
        return folder / "features.npy"

    def save(self, folder: Path) -> None:
        """Write all but the pixels, and embeddings that are not there yet."""
        features = self.features_file(folder)
        if self.features is not None and not features.is_file():
            np.save(features, self.features, allow_pickle=False)
        write_json(folder / "ids.json", self.ids)
        write_json(folder / "skipped.json", self.skipped)
        write_json(folder / "content.json", {"sha256": self.content_hash})
        if self.parts:
            write_json(folder / "parts.json", self.parts)
        if self.levels:
            write_json(folder / "levels.json", self.levels)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read all but the pixels."""
        parts, content = folder / "parts.json", folder / "content.json"
        levels = folder / "levels.json"
        return cls(
            _json(folder, "ids.json"),
            [(path, reason) for path, reason in _json(folder, "skipped.json")],
            _json(folder, "content.json")["sha256"] if content.is_file() else None,
            _json(folder, "parts.json") if parts.is_file() else {},
            _optional_array(folder, "features.npy"),
            _json(folder, "levels.json") if levels.is_file() else {},
        )


@dataclass(frozen=True)
class Embeddings:
    """What the frozen encoder says of every item.

    The cached views are written row by row, before the rest is saved: see `views_file`.

    Attributes:
        neighbors: int32 [N, n], each row led by the item itself.
        features: float32 [N, D], pooled and not normalised; None if embeddings were given.
        weak: float16 [W, N, D], features of weakly augmented copies; None if none are cached.
        strong: float16 [V, N, D], of strongly augmented copies, likewise.
        space: Where neighbours were found, and what heads do to features; None in the folder of an
            older version.
    """

    name: ClassVar[str] = "embeddings"
    stage: ClassVar[str] = "embed"
    command: ClassVar[str] = "self"

    neighbors: np.ndarray
    features: np.ndarray | None = None
    weak: np.ndarray | None = None
    strong: np.ndarray | None = None
    space: FeatureSpace | None = None

    @staticmethod
    def views_file(folder: Path, kind: str) -> Path:
        """Where the cached views of a kind lie, "weak" or "strong"."""
        return folder / f"{kind}.npy"

    def save(self, folder: Path) -> None:
        """Write all but the cached views."""
        if self.features is not None:
            np.save(folder / "features.npy", self.features, allow_pickle=False)
        np.save(folder / "neighbors.npy", self.neighbors, allow_pickle=False)
        if self.space is not None:
            write_json(folder / _SPACE, self.space.as_config())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it."""
        optional = {
            name: _optional_array(folder, f"{name}.npy") for name in ("features", "weak", "strong")
        }
        space = feature_space(_json(folder, _SPACE)) if (folder / _SPACE).is_file() else None
        return cls(_array(folder, "neighbors.npy"), **optional, space=space)


@dataclass(frozen=True)
class Clustering:
    """Soft clusters of every item, and what is read off them.

    Attributes:
        probabilities: float32 [N, K].
    """

    probabilities: np.ndarray

    @staticmethod
    def merge_file(folder: Path) -> Path:
        """Where it says which cluster each of the network's own went into, int32 [K].

        It is there if a person merged clusters after the network was trained.
        """
        return folder / "merge.npy"

    @cached_property
    def clusters(self) -> np.ndarray:
        """The most probable cluster of each item, int32 [N]."""
        found = np.empty(len(self.probabilities), np.int32)
        for rows in row_blocks(self.probabilities, _ROWS):
            found[rows] = self.probabilities[rows].argmax(axis=1)
        return found

    @cached_property
    def confidence(self) -> np.ndarray:
        """Its probability, float32 [N]."""
        found = np.empty(len(self.probabilities), self.probabilities.dtype)
        for rows in row_blocks(self.probabilities, _ROWS):
            found[rows] = self.probabilities[rows].max(axis=1)
        return found


@dataclass(frozen=True)
class Heads(Clustering):
    """What self-labelling leaves; probabilities are the chosen head's.

    An encoder that changed along with the heads is saved beside them: see `encoder_folder`.

    Attributes:
        assignments: int32 [H, N], the clusters of every head at the chosen epoch.
        head: The chosen head; None for items that no head was chosen on.
        epoch: The epoch it was chosen at, from 0.
        loss: Its loss over the whole set.
        weights: Weights of all heads, as `MultiHeadClassifier` orders them.
        unrefined: int64 [N], the clusters SPICE-Self chose before the refinement; None if there
            was no refinement.
        histories: What every head said after each epoch, by phase ("self", "refine"): the arrays
            of `HeadHistory`, `chosen` (epoch and head) and `first_judged`.
        guidance: If heads were to start at words: `words`, None if they did not, `fit`, `reason`.
        temperature: What the logits were divided by, so that probabilities are calibrated; 1 for
            heads as they were trained.
    """

    name: ClassVar[str] = "heads"
    stage: ClassVar[str] = "self"
    command: ClassVar[str] = "self"

    assignments: np.ndarray
    head: int | None = None
    epoch: int | None = None
    loss: float | None = None
    weights: list[np.ndarray] = field(default_factory=list)
    unrefined: np.ndarray | None = None
    histories: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    guidance: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0

    @property
    def trained_confidence(self) -> np.ndarray:
        """Confidence before it was calibrated, float32 [N]: what thresholds of SPICE compare."""
        if self.temperature == 1.0:
            return self.confidence
        found = np.empty(len(self.probabilities), np.float32)
        for rows in row_blocks(self.probabilities, _ROWS):
            block = tempered(self.probabilities[rows], 1.0 / self.temperature)
            found[rows] = block.max(axis=1)
        return found

    @property
    def guided(self) -> bool:
        """Whether all heads began at the same words."""
        return bool(self.guidance.get("words"))

    @property
    def other_heads(self) -> np.ndarray:
        """Clusters of the heads that began elsewhere than the chosen one, int32 [H', N]."""
        every = np.asarray(self.assignments)
        alone = self.guided or len(every) == 1  # after edits, only the chosen head's are kept
        return every[:0] if alone else every[np.arange(len(every)) != self.head]

    @staticmethod
    def encoder_folder(folder: Path) -> Path:
        """Where the encoder lies that the heads read, if it is another than the pretrained one."""
        return folder / _ENCODER

    def classifier(self, space: FeatureSpace) -> MultiHeadClassifier:
        """Rebuild all heads, as they were when one of them was chosen."""
        return MultiHeadClassifier.from_weights(self.weights, input_scale=space)

    def save(self, folder: Path) -> None:
        """Write all but the encoder."""
        np.save(folder / _PROBABILITIES, self.probabilities, allow_pickle=False)
        np.save(folder / "assignments.npy", self.assignments, allow_pickle=False)
        if self.unrefined is not None:
            np.save(folder / "unrefined.npy", self.unrefined, allow_pickle=False)
        if self.weights:
            weights = {f"weight_{i}": weight for i, weight in enumerate(self.weights)}
            np.savez(folder / "weights.npz", **weights)  # type: ignore[arg-type]
        if self.head is not None:
            facts = {"head": self.head, "epoch": self.epoch, "loss": self.loss}
            if self.temperature != 1.0:
                facts["temperature"] = self.temperature
            write_json(folder / "selection.json", facts)
        for phase, arrays in self.histories.items():
            np.savez_compressed(folder / f"history-{phase}.npz", **arrays)  # type: ignore[arg-type]
        if self.guidance:
            write_json(folder / "guidance.json", self.guidance)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it; a run of an older version may have no histories."""
        selection, weights = folder / "selection.json", folder / "weights.npz"
        histories = {
            path.stem.removeprefix("history-"): _arrays(path)
            for path in sorted(folder.glob("history-*.npz"), reverse=True)  # self, then refine
        }
        return cls(
            _array(folder, _PROBABILITIES),
            _array(folder, "assignments.npy"),
            **(_json(folder, "selection.json") if selection.is_file() else {}),
            weights=list(_arrays(weights).values()) if weights.is_file() else [],
            unrefined=_optional_array(folder, "unrefined.npy"),
            histories=histories,
            guidance=_json(folder, "guidance.json") if (folder / "guidance.json").is_file() else {},
        )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    # Opened here, as NumPy leaves the file of a damaged archive open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return dict(archive)


@dataclass(frozen=True)
class Reliable:
    """The reliable labels: the items whose neighbours agree with them.

    Attributes:
        indices: Their rows, int64 [R].
        labels: Their clusters, int32 [R].
        consistency: Local consistency of every item, float32 [N].
        thresholds: Thresholds, and counts by cluster; empty for items of a test part.
    """

    name: ClassVar[str] = "reliable"
    stage: ClassVar[str] = "reliable"
    command: ClassVar[str] = "self"

    indices: np.ndarray
    labels: np.ndarray
    consistency: np.ndarray
    thresholds: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write it."""
        np.savez(
            folder / "reliable.npz",
            indices=self.indices,
            labels=self.labels,
            consistency=self.consistency,
        )
        if self.thresholds:
            write_json(folder / "thresholds.json", self.thresholds)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it."""
        thresholds = folder / "thresholds.json"
        return cls(
            **_arrays(folder / "reliable.npz"),
            thresholds=_json(folder, "thresholds.json") if thresholds.is_file() else {},
        )


@dataclass(frozen=True)
class Classifier(Clustering):
    """What SPICE-Semi leaves; its network is saved beside it by `run.networks`.

    Attributes:
        embeddings: float32 [N, D], its pooled features on the unit sphere.
    """

    name: ClassVar[str] = "classifier"
    stage: ClassVar[str] = "semi"
    command: ClassVar[str] = "semi"

    embeddings: np.ndarray

    def save(self, folder: Path) -> None:
        """Write all but the network."""
        np.save(folder / _PROBABILITIES, self.probabilities, allow_pickle=False)
        np.save(folder / "embedding.npy", self.embeddings, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read all but the network."""
        return cls(_array(folder, _PROBABILITIES), _array(folder, "embedding.npy"))


@dataclass(frozen=True)
class Names:
    """What the clusters are called.

    Attributes:
        names: A name for each cluster, or the reason why it has none.
        source: Where the words come from; None if there were none.
        trained_with_labels: Whether the encoder was trained with labels to tell these words apart.
    """

    name: ClassVar[str] = "names"
    stage: ClassVar[str] = "name"
    command: ClassVar[str] = "eval"

    names: tuple[ClusterName, ...]
    source: str | None
    trained_with_labels: bool

    @property
    def texts(self) -> tuple[str, ...]:
        """The names, "" for a cluster that has none."""
        return tuple(one.name or "" for one in self.names)

    def save(self, folder: Path) -> None:
        """Write it."""
        write_json(folder / "names.json", asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it."""
        facts = _json(folder, "names.json")
        names = tuple(
            ClusterName(
                one["name"],
                tuple((word, float(score)) for word, score in one["words"]),
                one["reason"],
                tuple(one["concepts"]),
            )
            for one in facts["names"]
        )
        return cls(names, facts["source"], facts["trained_with_labels"])


@dataclass(frozen=True)
class Decisions:
    """What a person decided, in a run that `spice apply` made.

    Attributes:
        clusters: int32 [N], the cluster of each image a person placed; -1 for all others.
        words: What was decided about each image, "" for nothing.
    """

    name: ClassVar[str] = "decisions"
    stage: ClassVar[str] = "apply"
    command: ClassVar[str] = "apply"

    clusters: np.ndarray
    words: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """Write it."""
        np.save(folder / "clusters.npy", self.clusters, allow_pickle=False)
        write_json(folder / "words.json", self.words)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it."""
        return cls(_array(folder, "clusters.npy"), tuple(_json(folder, "words.json")))


@dataclass(frozen=True)
class Evaluation:
    """What the evaluation leaves.

    Attributes:
        metrics: The content of metrics.json.
    """

    name: ClassVar[str] = "evaluation"
    stage: ClassVar[str] = "evaluate"
    command: ClassVar[str] = "eval"

    metrics: Mapping[str, Any]

    def save(self, folder: Path) -> None:
        """Write it."""
        write_json(folder / "metrics.json", self.metrics)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it."""
        return cls(_json(folder, "metrics.json"))


@dataclass(frozen=True)
class Export:
    """Where the SavedModel was written.

    Attributes:
        path: Its folder.
    """

    name: ClassVar[str] = "export"
    stage: ClassVar[str] = "export"
    command: ClassVar[str] = "export"

    path: Path

    def save(self, folder: Path) -> None:
        """Write it."""
        facts = {"path": str(self.path), "files": file_table(self.path)}
        write_json(folder / "export.json", facts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it."""
        return cls(Path(_json(folder, "export.json")["path"]))
