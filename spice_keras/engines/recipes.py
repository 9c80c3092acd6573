"""What a worker needs to know to write shards: it opens model and source for itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

from spice_keras.data.packing import encoded_source
from spice_keras.data.sources import SourceOptions
from spice_keras.run.encoder_choice import EncoderChoice
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
