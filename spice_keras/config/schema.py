"""The whole run as one frozen, typed, strict configuration.

Defaults are the values of the SPICE paper where it is explicit and of its released code where
the paper is silent. A configuration file states only where it differs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

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

OWN_BACKBONES = ("resnet18_cifar", "small_resnet")
PRETRAINED_BACKBONES = ("efficientnet_lite0", "keras:", "hub:")


def _known_backbone(name: str) -> str:
    prefixed = name.startswith(("keras:", "hub:")) and not name.endswith(":")
    if name not in (*OWN_BACKBONES, "efficientnet_lite0") and not prefixed:
        raise ValueError(
            f"a backbone is one of {', '.join(OWN_BACKBONES)} (trained here) or "
            "efficientnet_lite0, keras:NAME (of keras.applications), hub:PRESET (of KerasHub), "
            "which come with weights"
        )
    return name


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
    """Where the images, or embeddings, come from, and the one size images are brought to."""

    source: Literal["digits", "folder", "arrays", "tfds", "embeddings"] = "digits"
    path: str | None = None
    """The folder, the .npy/.npz file of images or embeddings, or the TensorFlow Datasets name."""
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

    name: Annotated[str, AfterValidator(_known_backbone)] = "resnet18_cifar"
    width: Positive = 64
    """Channels of the first block of a residual network; the paper's ResNet-18 has 64."""
    stem_stride: Literal[1, 2] = 1
    """Of a residual network; 2 quarters the cost, for images above 32 pixels."""

    @property
    def pretrained(self) -> bool:
        """Whether it comes with weights, learned from labelled images as a rule."""
        return self.name not in OWN_BACKBONES


class PretrainConfig(Section):
    """MoCo v2 (the paper's stage 1)."""

    enabled: bool | None = None
    """null: unless the backbone comes with weights. With such a one, true goes on from them."""
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


class CachedViewsConfig(Section):
    """Augmented copies of every image, encoded once before the heads train."""

    weak: Annotated[int, Field(ge=0)] = 4
    strong: Annotated[int, Field(ge=0)] = 6


class NeighborsConfig(Section):
    """Neighbour consistency (SCAN), for `self.objective: neighbors`."""

    num_neighbors: Positive = 10
    entropy_weight: Annotated[float, Field(ge=0.0)] = 1.0
    """Larger: more even clusters."""
    hidden_dim: Positive | None = None
    """Width of the heads' hidden layer; null: linear heads."""
    batch_size: Positive = 256
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

    @property
    def trains_encoder(self) -> bool:
        """Whether there is a MoCo stage: not on embeddings, not where it is switched off."""
        asked = self.pretrain.enabled
        wanted = not self.backbone.pretrained if asked is None else asked
        return wanted and self.data.source != "embeddings"

    @property
    def head_input_scale(self) -> Literal["none", "unit"]:
        """What the heads do to their input, worked out where the configuration leaves it open."""
        if self.self_labeling.input_scale is not None:
            return self.self_labeling.input_scale
        own = not self.backbone.pretrained and self.data.source != "embeddings"
        return "none" if own and self.self_labeling.objective == "prototypes" else "unit"

    def as_dict(self) -> dict[str, Any]:
        """Return the configuration as the nested dictionary a YAML file would hold."""
        return self.model_dump(mode="json", by_alias=True)
