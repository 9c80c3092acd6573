"""Every choice that has a name, once: literals, policies, variants and training defaults.

Nothing heavy is imported, so that a configuration is checked before TensorFlow starts. What the
command, the configuration and Python call by name (`--set self.start=kmeans`, `start="kmeans"`) is
defined here and nowhere else.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Source = Literal["digits", "folder", "arrays", "tfds", "embeddings"]
"""Where items come from."""
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
Objective = Literal["prototypes", "neighbors"]
"""What clustering heads are trained for."""
Start = Literal["random", "kmeans", "balanced-kmeans", "spectral"]
"""Where clustering heads begin."""
InputScale = Literal["none", "unit"]
"""What clustering heads do to their features first."""
Search = Literal["exact", "approximate"]
"""How nearest neighbours are found."""
SelfLoss = Literal["double-softmax", "softmax", "temperature"]
"""The loss of SPICE-Self's heads."""
ClaimRule = Literal["overlap", "exclusive"]
"""Whether a sample may be claimed by several clusters."""
BatchNorm = Literal["frozen", "adapt"]
"""What SPICE-Self does to the encoder's batch statistics."""
Balance = Literal["none", "min"]
"""Whether every cluster keeps as many reliable labels as the smallest."""
LabelsFrom = Literal["reliable", "source"]
"""What SPICE-Semi is trained on: reliable labels, or true ones on request."""
SemiInit = Literal["scratch", "pretrained"]
"""The weights SPICE-Semi begins with."""
MapMethod = Literal["tsne", "pca"]
"""How embeddings are drawn in the plane."""
Fill = Literal["reflect", "black"]
"""What lies outside an image that was moved."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]


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
    contrast: Share = 0.4
    saturation: Share = 0.4
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.1
    """Largest turn of the hue, as a share of the colour circle."""
    jitter_probability: Share = 0.8
    grayscale_probability: Share = 0.2
    blur_probability: Share = 0.5
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
        objective: "neighbors" or "prototypes".
        num_rows: N.
        num_clusters: K.

    Returns:
        The objective's numbers. For "neighbors" the epochs come down with N, to 10, if N is above
        15,000, and the batch is that of ``pairs_per_step``.
    """
    chosen = _HEAD_TRAINING[objective]
    if objective == "prototypes":
        return chosen
    fewer = max(_FEWEST_EPOCHS, round(chosen.epochs * _FULL_EPOCHS_ROWS / num_rows))
    return chosen._replace(
        epochs=min(chosen.epochs, fewer), batch_size=pairs_per_step(num_clusters)
    )
