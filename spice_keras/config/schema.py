"""The whole run as one frozen, typed, strict configuration.

Defaults are the values of the SPICE paper where it is explicit and of its released code where
the paper is silent. A configuration file states only where it differs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from spice_keras.config.policies import (
    MocoPolicy,
    PolicyConfig,
    SpicePolicy,
    WeakPolicy,
    expand_name,
)

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
Policy = Annotated[PolicyConfig, BeforeValidator(expand_name)]


class Section(BaseModel):
    """A part of the configuration: frozen, strict, no unknown key, no infinite number."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=False,
        populate_by_name=True,
        allow_inf_nan=False,
    )


class DataConfig(Section):
    """Where the images come from, and the one size they are brought to."""

    source: Literal["digits", "folder", "arrays", "tfds"] = "digits"
    path: str | None = None
    """The folder, the .npy/.npz file, or the TensorFlow Datasets name."""
    split: str = "train"
    """TensorFlow Datasets only; `train+test` joins two."""
    tfds_dir: str | None = None
    """Where prepared TensorFlow Datasets lie; null: their own place."""
    image_size: Annotated[int, Field(ge=8, le=512)] = 32
    fit: Literal["crop", "stretch"] = "crop"
    """`crop` keeps the proportions and cuts the longer side; `stretch` does not."""
    labels: Literal["none", "source", "from-folders"] = "source"
    """What evaluation may compare with. A plain folder has no labels unless `from-folders`."""
    max_pixels: Positive = 100_000_000
    """A larger picture is skipped: a guard against decompression bombs."""
    max_skipped_share: Share = 0.2
    memory_limit_mb: Annotated[int, Field(ge=0)] = 1024
    """Above this the images stay on disk, memory-mapped."""


class BackboneConfig(Section):
    """The encoder."""

    name: Literal["resnet18_cifar", "small_resnet"] = "resnet18_cifar"
    width: Positive = 64
    """Channels of the first block; the paper's ResNet-18 has 64."""
    stem_stride: Literal[1, 2] = 1
    """2 quarters the cost, for images above 32 pixels."""


class PretrainConfig(Section):
    """MoCo v2 (the paper's stage 1)."""

    epochs: Positive | None = 1000
    """null: chosen from the number of images."""
    batch_size: Positive | None = 128
    """null: 128, or less for fewer than 512 images."""
    queue_size: Positive | None = 12800
    """Negatives. null: about half the images, at most 4096."""
    momentum: Share = 0.999
    temperature: PositiveFloat = 0.2
    symmetric: bool = False
    projection_dim: Positive = 128
    learning_rate: PositiveFloat = 0.015
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    bn_groups: Positive = 1
    """Split-BN: groups of the batch with statistics of their own; keys are shuffled then."""
    views: Policy = MocoPolicy()
    quality_every: Positive = 10
    """Epochs between two label-free quality figures."""
    checkpoint_every: Positive = 5


class SelfConfig(Section):
    """SPICE-Self (stage 2): clustering heads on the frozen encoder."""

    num_heads: Positive = 10
    hidden_dim: Positive | None = None
    """null: the encoder's width, as in the paper (D x D, D x k)."""
    large_batch: Positive = 1000
    """M: images of one iteration of Algorithm 1."""
    confident_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    batch_size: Positive = 128
    num_repeats: Positive = 8
    epochs: Positive = 100
    learning_rate: PositiveFloat = 0.005
    feature_batch: Positive = 256
    """Images per pass of the frozen encoder; memory only."""
    weak: Policy = WeakPolicy()
    strong: Policy = SpicePolicy()
    checkpoint_every: Positive = 5


class ReliableConfig(Section):
    """Reliable labels by local consistency (Eq. 5)."""

    num_neighbors: Positive = 100
    consistency_threshold: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.95
    confidence_threshold: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    min_per_cluster: Positive = 10
    """A cluster with fewer is repaired with its most consistent members."""
    balance: Literal["none", "min"] = "none"


class SemiConfig(Section):
    """SPICE-Semi (stage 3): FixMatch from the reliable labels."""

    enabled: bool = True
    init: Literal["scratch", "pretrained"] = "scratch"
    backbone: BackboneConfig | None = None
    """null: the same network as pretraining."""
    steps: Positive = 1_048_576
    steps_per_epoch: Positive = 1024
    """Steps between two lines of the log, and between two checkpoints."""
    labeled_batch: Positive = 64
    unlabeled_ratio: Positive = 7
    """mu: unlabelled images for each labelled one."""
    class_balanced: bool = False
    """Draw labelled images equally often from every cluster."""
    threshold: Share = 0.95
    unlabeled_weight: Annotated[float, Field(ge=0.0)] = 1.0
    learning_rate: PositiveFloat = 0.03
    sgd_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    weight_decay: Annotated[float, Field(ge=0.0)] = 5e-4
    ema_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    weak: Policy = WeakPolicy()
    strong: Policy = SpicePolicy(num_ops=3)


class EvaluateConfig(Section):
    """Figures of merit and the report."""

    kmeans_restarts: Positive = 10
    silhouette_samples: Positive = 2000
    map_method: Literal["tsne", "pca"] = "tsne"
    map_samples: Positive = 2000
    prototypes_per_cluster: Positive = 8


class ExportConfig(Section):
    """The SavedModel."""

    directory: str = "saved_models"
    name: str | None = None
    """null: the run's name."""


class RunConfig(Section):
    """One run, whole."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "run"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    num_clusters: Annotated[int, Field(ge=2)] = 10
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    data: DataConfig = DataConfig()
    backbone: BackboneConfig = BackboneConfig()
    pretrain: PretrainConfig = PretrainConfig()
    self_labeling: SelfConfig = Field(default=SelfConfig(), alias="self")
    reliable: ReliableConfig = ReliableConfig()
    semi: SemiConfig = SemiConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    export: ExportConfig = ExportConfig()

    def as_dict(self) -> dict[str, Any]:
        """Return the configuration as the nested dictionary a YAML file would hold."""
        return self.model_dump(mode="json", by_alias=True)
