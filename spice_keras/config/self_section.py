"""The configuration's `self` and `reliable`: heads, and the labels kept of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from spice_keras.config.policies import SpicePolicy, WeakPolicy
from spice_keras.config.section import Policy, Positive, PositiveFloat, Section


class CachedViewsConfig(Section):
    """Augmented copies of every image, encoded once before the heads train."""

    weak: Annotated[int, Field(ge=0)] = 4
    strong: Annotated[int, Field(ge=0)] = 6


class NeighborsConfig(Section):
    """Neighbour consistency (SCAN), for `self.objective: neighbors`."""

    num_neighbors: Positive = 10
    entropy_weight: Annotated[float, Field(ge=0.0)] = 0.7
    """Larger: more even clusters."""
    hidden_dim: Positive | None = None
    """Width of the heads' hidden layer; null: linear heads."""
    batch_size: Positive | None = None
    """Pairs of a step; null: 256, or ten for each cluster where that is more."""
    epochs: Positive = 60
    learning_rate: PositiveFloat = 0.001


class SelfConfig(Section):
    """Self-labelling (stage 2): clustering heads on the frozen encoder."""

    objective: Literal["prototypes", "neighbors"] = "prototypes"
    """`prototypes` is SPICE-Self, the paper's; `neighbors` is SCAN's, for pretrained features."""
    start: Literal["random", "kmeans", "balanced-kmeans", "spectral"] = "random"
    """Where the heads begin: each at another restart of k-means, plain, balanced, or on the
    eigenvectors of the neighbour graph."""
    num_heads: Positive = 10
    input_scale: Literal["none", "unit"] | None = None
    """`unit`: heads read L2-normalised features times sqrt(D). null: `none` where the paper's
    objective reads an encoder trained here, `unit` elsewhere."""
    select_from: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the epochs after which heads are judged; the paper judges all."""
    weak: Policy = WeakPolicy()
    strong: Policy = SpicePolicy()
    cached_views: CachedViewsConfig | None = None
    """null: every iteration draws new views and passes them through the encoder."""
    feature_batch: Positive = 256
    """Images per pass of the frozen encoder; memory only."""
    checkpoint_every: Positive = 5
    neighbors: NeighborsConfig = NeighborsConfig()
    """The options of that objective; those below are of `prototypes`."""
    refine_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs of neighbour consistency after SPICE-Self, on its heads; not in the paper."""
    hidden_dim: Positive | None = None
    """null: the encoder's width, as in the paper (D x D, D x k)."""
    large_batch: Positive = 1000
    """M: images of one iteration of Algorithm 1."""
    confident_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    batch_size: Positive = 128
    num_repeats: Positive = 8
    epochs: Positive = 100
    learning_rate: PositiveFloat = 0.005
    loss: Literal["double-softmax", "softmax", "temperature"] = "double-softmax"
    """The paper's, or what it is compared with: CE, and CE of scores over `temperature` (TCE).
    Heads are chosen by the same loss."""
    temperature: PositiveFloat = 0.2
    """Of the loss `temperature` alone."""
    assignment: Literal["overlap", "exclusive"] = "overlap"
    """`exclusive`: no image gets two labels; the clusters choose in turn (released code)."""
    entropy_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of the entropy of the mean prediction, in training and in the choice of a head. The
    paper needs the term for 200 clusters and publishes no weight."""
    train_encoder: bool = False
    """Train the CNN along with the heads; with one head or many, `num_heads` says."""
    batch_norm: Literal["frozen", "adapt"] = "frozen"
    """`adapt`: strong views move the encoder's batch statistics, as in the released code; the
    embeddings keep those of pretraining."""

    @property
    def moves_encoder(self) -> bool:
        """Whether the heads end on another encoder than the pretrained one."""
        return self.objective == "prototypes" and (self.train_encoder or self.batch_norm == "adapt")


class ReliableConfig(Section):
    """Reliable labels by local consistency (Eq. 5)."""

    num_neighbors: Positive = 100
    consistency_threshold: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.95
    confidence_threshold: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    min_per_cluster: Positive = 10
    """A cluster with fewer is repaired with its most consistent members."""
    balance: Literal["none", "min"] = "none"
