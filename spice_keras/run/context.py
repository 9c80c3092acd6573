"""What every stage is given: the configuration, the run's artifacts and the screen."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.algorithm.feature_space import FeatureSpace
from spice_keras.clustering.approximate import neighbor_search
from spice_keras.clustering.neighbors import NeighborSearch
from spice_keras.config import Plan, RunConfig, make_plan
from spice_keras.config.protocol import ROLES, PartCounts, StageRows, stage_rows
from spice_keras.data.image_store import open_images
from spice_keras.errors import UserError
from spice_keras.files import storage_problem
from spice_keras.heads.feature_bank import FeatureBank
from spice_keras.options import Role
from spice_keras.progress import Screen, silent_screen
from spice_keras.run.directory import RunDirectory
from spice_keras.run.replicas import Replicas
from spice_keras.run.store import Artifact, Embeddings, Items, Names
from spice_keras.scratch import give_back, is_mapped, scratch_array

Kind = TypeVar("Kind", bound=Artifact)


def _read(kind: type[Kind], folder: Path) -> Kind:
    """Read an artifact whose checksums are right.

    Raises:
        UserError: If it is none of this program's all the same.
    """
    try:
        return kind.load(folder)
    except UserError:
        raise
    except Exception as error:  # a damaged array or archive raises nearly anything
        if isinstance(error, FileNotFoundError) or storage_problem(error) is not None:
            raise
        said = " ".join(str(error).split())[:200]
        raise UserError(
            f"{folder} has the right checksums and cannot be read ({type(error).__name__}: {said}):"
            " another program wrote it. Begin a new run in another folder (--run-dir)."
        ) from error


@dataclass(frozen=True)
class Context:
    """A run as its stages see it. No labels are in it.

    `images` and `ids` are those that are clustered: all, or the train part if the protocol is
    `split`. `reported_parts` lists what evaluation reports on: this, or a context like it whose
    images, ids and clusterings are the test part's.

    Attributes:
        config: The resolved configuration.
        run: The run directory.
        screen: Where things are said.
        train_part: In the context of a test part, that of the run it belongs to.
        replicas: What shares the steps of training.
    """

    config: RunConfig
    run: RunDirectory
    screen: Screen = field(default_factory=silent_screen)
    train_part: Context | None = None
    replicas: Replicas = field(default_factory=Replicas)
    _loaded: dict[type[Artifact], Artifact] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _unit_rows: list[tuple[np.ndarray, object, np.ndarray]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def load(self, kind: type[Kind]) -> Kind:
        """Read an artifact: verified once a process, read once a run; of a test part, its own.

        Raises:
            UserError: If it is missing, damaged, or of another schema.
        """
        folder = self.folder(kind)
        if kind not in self._loaded:
            self._loaded[kind] = _read(kind, folder)
        return cast(Kind, self._loaded[kind])

    def folder(self, kind: type[Artifact]) -> Path:
        """Return the folder of an artifact about items, checked; of a test part, its own.

        Raises:
            UserError: If it is missing, damaged, or of another schema.
        """
        if self.train_part is not None and kind not in (Items, Names):
            return self.run.read("test", written_by="eval") / kind.name
        return self.run.read(kind.name, written_by=self._command(kind))

    def _command(self, kind: type[Artifact]) -> str:
        return "self" if kind is Items and not self.has_images else kind.command

    @contextmanager
    def writing(self, kind: type[Artifact]) -> Iterator[Path]:
        """Write an artifact into the folder this yields; it appears whole, or not at all."""
        with self.run.write(kind.name, stage=kind.stage) as folder:
            yield folder
        self._loaded.pop(kind, None)
        self.forget_bank()

    def forget_bank(self) -> None:
        """Give back the memory of `bank`, until it is asked for again."""
        self.__dict__.pop("bank", None)
        give_back(*(rows for _, _, rows in self._unit_rows))
        for kept in self._loaded.values():
            give_back(*(value for value in vars(kept).values() if isinstance(value, np.ndarray)))

    def save(self, artifact: Artifact) -> None:
        """Write an artifact that has no files beside its own."""
        with self.writing(type(artifact)) as folder:
            artifact.save(folder)

    @property
    def has_images(self) -> bool:
        """Whether the items are images; otherwise they are rows of a file of embeddings."""
        return self.config.data.source != "embeddings"

    @cached_property
    def _items(self) -> Items:
        return (self.train_part or self).load(Items)

    @property
    def given_features(self) -> np.ndarray:
        """The embeddings of a run without images, float32 [N, D]."""
        if self._items.features is None:
            raise ValueError("A run of images was given no embeddings.")
        return self._items.features

    @cached_property
    def _stored_images(self) -> np.ndarray:
        if self.train_part is not None:
            return self.train_part._stored_images
        limit = self.config.data.memory_limit_mb * 2**20
        return open_images(Items.pixels_file(self.folder(Items)), limit)

    @cached_property
    def counts(self) -> PartCounts:
        """How many images each part of the data has."""
        parts = self._items.parts
        found = {role: parts.get(role) or 0 for role in ROLES}
        return PartCounts(**found) if parts else PartCounts(len(self._items.ids))

    @property
    def has_parts(self) -> bool:
        """Whether the data has more than one part."""
        return bool(self._items.parts)

    @property
    def duplicates_removed(self) -> int | None:
        """Extra images left out as duplicates of test images; None if that was not asked."""
        return self._items.parts.get("duplicates_removed")

    @cached_property
    def _rows(self) -> StageRows:
        data, semi = self.config.data, self.config.semi
        return stage_rows(self.counts, data.protocol, extra_in_semi=semi.use_extra)

    @property
    def _own(self) -> slice:
        return self._rows.clustered if self.train_part is None else self._rows.reported

    @cached_property
    def images(self) -> np.ndarray:
        """The images, uint8 [N, S, S, 3], in memory or memory-mapped."""
        return self._stored_images[self._own]

    @property
    def pretraining_images(self) -> np.ndarray:
        """The images MoCo trains on: these, and the extra ones."""
        return self._stored_images[self._rows.pretrained]

    @property
    def semi_images(self) -> np.ndarray:
        """SPICE-Semi's unlabelled images; they begin with `images`."""
        return self._stored_images[self._rows.unlabeled]

    @cached_property
    def ids(self) -> list[str]:
        """The items' names, in the order of the rows."""
        return self._items.ids[self._own]

    @cached_property
    def parts(self) -> Mapping[Role, slice]:
        """The parts these items belong to, and the rows of each."""
        found: dict[Role, slice] = {}
        start = -self._own.start
        for role in ROLES:
            stop = start + getattr(self.counts, role)
            low, high = max(start, 0), min(stop, len(self.ids))
            if low < high:
                found[role] = slice(low, high)
            start = stop
        return found

    @cached_property
    def reported_parts(self) -> tuple[Context, ...]:
        """What is reported, first, and what is told beside it."""
        if self.config.data.protocol == "whole":
            return (self,)
        return replace(self, train_part=self), self

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Files left out, with the reasons."""
        return self._items.skipped

    @cached_property
    def bank(self) -> FeatureBank:
        """What self-labelling and everything about neighbours reads: the artifact `embeddings`."""
        found, plan = self.load(Embeddings), self.plan
        features = self.given_features if found.features is None else found.features
        none = np.empty((0, *features.shape), np.float16)
        return FeatureBank(
            features,
            self.similarity_rows(features, self.space),
            found.neighbors[:, : plan.reliable.num_neighbors],
            found.neighbors[:, 1 : 1 + plan.self_labeling.num_neighbors],
            none if found.weak is None else found.weak,
            none if found.strong is None else found.strong,
            self.neighbor_search,
            self.space,
        )

    @property
    def space(self) -> FeatureSpace:
        """What heads do to features, and where similarity is measured."""
        found = (self.train_part or self).load(Embeddings).space
        return FeatureSpace(self.config.head_input_scale or "unit") if found is None else found

    def similarity_rows(self, features: np.ndarray, space: FeatureSpace) -> np.ndarray:
        """Unit rows of a space, float32 [N, D]; many of them lie in a file, and are made once."""
        config = space.as_config() if space.is_centered else None
        for of, known, rows in self._unit_rows:
            if of is features and known == config:
                return rows
        out = scratch_array(features.shape, np.float32, self.run.path)
        made = space.unit_rows(features, out) if space.is_centered else l2_normalized(features, out)
        if is_mapped(made):
            self._unit_rows[:] = [*self._unit_rows[-1:], (features, config, made)]
        return made

    def cosine_rows(self, features: np.ndarray) -> np.ndarray:
        """Rows of unit length and nothing more, float32 [N, D], whatever space heads read."""
        return self.similarity_rows(features, FeatureSpace("unit"))

    @cached_property
    def plan(self) -> Plan:
        """Sizes and steps for this many items."""
        return make_plan(self.config, self.counts)

    @property
    def neighbor_search(self) -> NeighborSearch:
        """How the neighbours of all items are found."""
        section = self.config.embed
        return neighbor_search(
            section.neighbor_search,
            recall=section.recall,
            seed=self.seed("neighbors"),
            tell=self.screen.say,
        )

    def seed(self, purpose: str) -> int:
        """Return the seed of one purpose, different from every other's."""
        return zlib.crc32(f"{self.config.seed}/{purpose}".encode()) % 2**31

    def log(self, stage: str, row: Mapping[str, Any]) -> None:
        """Write one row of a stage's figures."""
        self.run.append_metrics({"stage": stage, **row})
