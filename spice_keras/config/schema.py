"""The whole run as one frozen, typed, strict configuration.

Defaults are the values of the SPICE paper where it is explicit and of its released code where
the paper is silent. A configuration file states only where it differs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from spice_keras.config.backbone_section import BackboneConfig
from spice_keras.config.data_section import DataConfig
from spice_keras.config.policies import MocoPolicy, SpicePolicy, WeakPolicy
from spice_keras.config.section import Policy, Positive, PositiveFloat, Section, Share
from spice_keras.config.self_section import ReliableConfig, SelfConfig


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


class EmbedConfig(Section):
    """The embeddings' neighbours, by which heads train, start and are judged reliable."""

    neighbor_search: Literal["exact", "approximate"] = "exact"
    """`approximate`: FAISS's inverted lists (the extra `faiss`), for hundreds of thousands."""
    num_probes: Positive = 32
    """Lists that the approximate search looks into for each item: more find more."""


class SemiConfig(Section):
    """SPICE-Semi (stage 3): FixMatch from the reliable labels."""

    enabled: bool = True
    labels_from: Literal["reliable", "source"] = "reliable"
    """`source`: true labels of the data, a few per class, in place of the reliable ones: the
    semi-supervised comparison of Table 3, and no clustering. Nothing else trains on labels."""
    labels_per_class: Positive = 25
    """Of `labels_from: source` alone; the paper has 25 (CIFAR-10) and 100 (STL-10)."""
    init: Literal["scratch", "pretrained"] = "scratch"
    backbone: BackboneConfig | None = None
    """null: the same network as pretraining."""
    steps: Positive = 1_048_576
    steps_per_epoch: Positive = 1024
    """Steps between two lines of the log, and between two checkpoints."""
    labeled_batch: Positive = 64
    unlabeled_ratio: Positive = 7
    """mu: unlabelled images for each labelled one."""
    use_extra: bool = False
    """Whether the unlabelled images include the data's extra ones, which no stage clusters."""
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
    embed: EmbedConfig = EmbedConfig()
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
