"""What every stage is given: the configuration, the run directory and the screen."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from spice_keras.artifacts import RunDirectory
from spice_keras.augment.policies import Policy, build_policy
from spice_keras.config import Plan, RunConfig, make_plan
from spice_keras.config.policies import PolicyConfig
from spice_keras.data.image_store import open_images
from spice_keras.training.screen import Screen, silent_screen


@dataclass(frozen=True)
class Context:
    """A run as its stages see it. No labels are in it.

    Attributes:
        config: The resolved configuration.
        run: The run directory.
        screen: Where things are said.
    """

    config: RunConfig
    run: RunDirectory
    screen: Screen = field(default_factory=silent_screen)

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
    def images(self) -> np.ndarray:
        """The images, uint8 [N, S, S, 3], in memory or memory-mapped."""
        limit = self.config.data.memory_limit_mb * 2**20
        return open_images(self._images_folder / "images.npy", limit)

    @cached_property
    def ids(self) -> list[str]:
        """The items' names, in the order of the rows."""
        ids: list[str] = json.loads((self._images_folder / "ids.json").read_text("utf-8"))
        return ids

    @cached_property
    def skipped(self) -> list[tuple[str, str]]:
        """Files left out, with the reasons."""
        rows = json.loads((self._images_folder / "skipped.json").read_text("utf-8"))
        return [(path, reason) for path, reason in rows]

    @cached_property
    def plan(self) -> Plan:
        """Sizes and steps for this many items."""
        return make_plan(self.config, len(self.ids))

    def seed(self, purpose: str) -> int:
        """Return the seed of one purpose, different from every other's."""
        return zlib.crc32(f"{self.config.seed}/{purpose}".encode()) % 2**31

    def log(self, stage: str, row: dict[str, object]) -> None:
        """Write one row of a stage's figures."""
        self.run.append_metrics({"stage": stage, **row})


def policy_of(config: PolicyConfig) -> Policy:
    """Build the augmentation policy a configuration names."""
    parameters = config.model_dump()
    return build_policy(parameters.pop("policy"), **parameters)
