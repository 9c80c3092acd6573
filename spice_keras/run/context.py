"""What every stage is given: the configuration, the run directory and the screen."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from spice_keras.clustering.approximate import approximate_neighbors
from spice_keras.clustering.neighbors import NeighborSearch, nearest_neighbors
from spice_keras.config import Plan, RunConfig, make_plan
from spice_keras.config.protocol import ROLES, PartCounts, StageRows, stage_rows
from spice_keras.data.image_store import open_images
from spice_keras.options import Role
from spice_keras.progress import Screen, silent_screen
from spice_keras.run.directory import RunDirectory


@dataclass(frozen=True)
class Context:
    """A run as its stages see it. No labels are in it.

    `images` and `ids` are those that are clustered: all, or the train part where the protocol is
    `split`. `judged` lists what evaluation reports on: this, or a context like it whose images,
    ids, and clusterings are the test part's.

    Attributes:
        config: The resolved configuration.
        run: The run directory.
        screen: Where things are said.
        trained: Of the context of a test part: that of the run it belongs to.
    """

    config: RunConfig
    run: RunDirectory
    screen: Screen = field(default_factory=silent_screen)
    trained: Context | None = None

    @cached_property
    def _images_folder(self) -> Path:
        return self.run.read("images", written_by="pretrain" if self.has_images else "self")

    @property
    def has_images(self) -> bool:
        """Whether the items are images; otherwise they are rows of a file of embeddings."""
        return self.config.data.source != "embeddings"

    @cached_property
    def given_features(self) -> np.ndarray:
        """The embeddings of a run without images, float32 [N, D]."""
        return np.load(self._images_folder / "features.npy", allow_pickle=False)

    @cached_property
    def _stored_images(self) -> np.ndarray:
        if self.trained is not None:
            return self.trained._stored_images
        limit = self.config.data.memory_limit_mb * 2**20
        return open_images(self._images_folder / "images.npy", limit)

    @cached_property
    def _stored_ids(self) -> list[str]:
        ids: list[str] = json.loads((self._images_folder / "ids.json").read_text("utf-8"))
        return ids

    @cached_property
    def _part_facts(self) -> dict[str, int | None]:
        """What `parts.json` says; nothing in a run of one part."""
        path = self._images_folder / "parts.json"
        facts: dict[str, int | None] = json.loads(path.read_text()) if path.is_file() else {}
        return facts

    @cached_property
    def counts(self) -> PartCounts:
        """How many images each part of the data has."""
        found = {role: self._part_facts.get(role) or 0 for role in ROLES}
        return PartCounts(**found) if self._part_facts else PartCounts(len(self._stored_ids))

    @property
    def has_parts(self) -> bool:
        """Whether the data has more than one part."""
        return bool(self._part_facts)

    @property
    def duplicates_removed(self) -> int | None:
        """Extra images left out as duplicates of test images; None where that was not asked."""
        return self._part_facts.get("duplicates_removed")

    @cached_property
    def _rows(self) -> StageRows:
        data, semi = self.config.data, self.config.semi
        return stage_rows(self.counts, data.protocol, extra_in_semi=semi.use_extra)

    @property
    def _own(self) -> slice:
        return self._rows.clustered if self.trained is None else self._rows.reported

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
        return self._stored_ids[self._own]

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
    def judged(self) -> tuple[Context, ...]:
        """What is reported, first, and what is told beside it."""
        if self.config.data.protocol == "whole":
            return (self,)
        return replace(self, trained=self), self

    def read(self, name: str, *, written_by: str) -> Path:
        """Return the folder of an artifact about items; of a test part, its own."""
        if self.trained is None:
            return self.run.read(name, written_by=written_by)
        return self.run.read("test", written_by="eval") / name

    @cached_property
    def skipped(self) -> list[tuple[str, str]]:
        """Files left out, with the reasons."""
        rows = json.loads((self._images_folder / "skipped.json").read_text("utf-8"))
        return [(path, reason) for path, reason in rows]

    @cached_property
    def plan(self) -> Plan:
        """Sizes and steps for this many items."""
        return make_plan(self.config, self.counts)

    @property
    def neighbor_search(self) -> NeighborSearch:
        """How the neighbours of all items are found."""
        section = self.config.embed
        if section.neighbor_search == "exact":
            return nearest_neighbors
        seed = self.seed("neighbors")
        return partial(approximate_neighbors, num_probes=section.num_probes, seed=seed)

    def seed(self, purpose: str) -> int:
        """Return the seed of one purpose, different from every other's."""
        return zlib.crc32(f"{self.config.seed}/{purpose}".encode()) % 2**31

    def log(self, stage: str, row: dict[str, object]) -> None:
        """Write one row of a stage's figures."""
        self.run.append_metrics({"stage": stage, **row})
