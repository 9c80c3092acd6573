"""What a worker needs to know to write shards: it opens model and source for itself."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from spice_keras.config import load_config
from spice_keras.data.packing import encoded_source
from spice_keras.data.sources import SourceOptions
from spice_keras.errors import UserError
from spice_keras.run.configuration import read_run_config
from spice_keras.run.context import Context
from spice_keras.run.directory import RunDirectory, must_hold_run
from spice_keras.run.networks import build_initial_encoder, pretrained_encoder
from spice_keras.serving.embedding import EmbeddingWriter
from spice_keras.serving.predict import Predictor
from spice_keras.serving.predicted_shards import Tables, prediction_writer
from spice_keras.shards.writing import ShardPlan, ShardWriter


class Recipe(ABC):
    """Makes a writer of shards in whatever process it is sent to.

    Two processes that open different things, such as another version of the weights, find that out
    by the facts of the folder they share.

    Attributes:
        plan: How the source is cut into shards.
        precision: What TensorFlow computes in: see `spice_keras.runtime.dtype_policy`.
        deterministic: Whether its kernels must be repeatable.
    """

    plan: ShardPlan
    precision: str
    deterministic: bool

    @abstractmethod
    def open(self) -> ShardWriter:
        """Open model and source, and the folder of the shards.

        Raises:
            UserError: If one of them cannot be used.
        """


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder: one that a run trained, or a pretrained one by name.

    Attributes:
        run_dir: The run; None for a pretrained encoder.
        backbone: Name of that; None for the default.
        size: Side of its images; None for that of the configuration.
    """

    run_dir: Path | None = None
    backbone: str | None = None
    size: int | None = None

    def build(self) -> tuple[keras.Model, dict[str, Any]]:
        """Build the encoder.

        Returns:
            The encoder, and what tells it from others: backbone, image size, fit, checksum of the
            weights.

        Raises:
            UserError: If there is no such encoder, or it has no weights.
        """
        if self.run_dir is not None:
            must_hold_run(self.run_dir)
            config = read_run_config(self.run_dir)
            encoder = pretrained_encoder(Context(config, RunDirectory(self.run_dir)))
        else:
            overrides: dict[str, Any] = {"data.source": "folder", "data.path": "."}
            if self.backbone is not None:
                overrides["backbone.name"] = self.backbone
            if self.size is not None:
                overrides["data.image_size"] = self.size
            config = load_config("pretrained", overrides=overrides)
            if config.trains_encoder:
                raise UserError(
                    f"--backbone {config.backbone.name} comes without weights. Train it with "
                    "`spice pretrain`, then give --run-dir."
                )
            encoder = build_initial_encoder(
                config.backbone, image_size=config.data.image_size, seed=config.seed
            )
        digest = hashlib.sha256()
        for weight in encoder.get_weights():
            digest.update(weight.tobytes())
        return encoder, {
            "backbone": config.backbone.name,
            "image_size": config.data.image_size,
            "fit": config.data.fit,
            "weights": digest.hexdigest(),
        }


@dataclass(frozen=True)
class EmbedRecipe(Recipe):
    """Images into shards of embeddings.

    Attributes:
        kind: Of the source, of `spice_keras.options.SOURCES`.
        source: Its path.
        encoder: What the images pass.
        out: The folder of the shards.
        plan: How the source is cut into shards.
        precision: What TensorFlow computes in.
        deterministic: Whether its kernels must be repeatable.
    """

    kind: str
    source: Path
    encoder: EncoderChoice
    out: Path
    plan: ShardPlan = field(default_factory=ShardPlan)
    precision: str = "auto"
    deterministic: bool = True

    def open(self) -> ShardWriter:
        """Build the encoder and open the images."""
        encoder, facts = self.encoder.build()
        options = SourceOptions(
            path=str(self.source), image_size=facts["image_size"], fit=facts["fit"]
        )
        opened = encoded_source(self.kind, options)
        return EmbeddingWriter(opened, encoder, self.out, self.plan, facts)


@dataclass(frozen=True)
class PredictRecipe(Recipe):
    """Images, or embeddings in shards, into tables of their clusters.

    Attributes:
        model: A SavedModel that `spice export` wrote.
        kind: Of the source, of `spice_keras.options.SOURCES`.
        source: Its path.
        out: The folder of the tables.
        tables: What they look like.
        trust: Whether the model's graph may hold operations that do more than compute.
        plan: How the source is cut into shards.
        precision: What TensorFlow computes in.
        deterministic: Whether its kernels must be repeatable.
    """

    model: Path
    kind: str
    source: Path
    out: Path
    tables: Tables = field(default_factory=Tables)
    trust: bool = False
    plan: ShardPlan = field(default_factory=ShardPlan)
    precision: str = "float32"
    deterministic: bool = False

    def open(self) -> ShardWriter:
        """Load the model and open the source."""
        predictor = Predictor(self.model, trust=self.trust)
        return prediction_writer(
            predictor, (self.kind, self.source), self.out, tables=self.tables, plan=self.plan
        )
