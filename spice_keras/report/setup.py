"""How a run was set up, and how the report says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spice_keras.algorithm.double_softmax import double_softmax_floor
from spice_keras.options import LabelsFrom, Objective, Protocol, SelfLoss, Start
from spice_keras.report.table import METHOD_NAMES

Lines = tuple[tuple[str, str], ...]

OBJECTIVES: Mapping[Objective, str] = {
    "prototypes": "SPICE-Self: pseudo-labels from the samples nearest to each prototype",
    "neighbors": "agreement with neighbours (the loss of SCAN), for features of a good encoder",
    "sic": "agreement with neighbours and with words (SIC)",
}
STARTS: Mapping[Start, str] = {
    "random": "from different random weights",
    "kmeans": "from different runs of k-means",
    "balanced-kmeans": "from different runs of balanced k-means",
    "spectral": "from different runs of spectral clustering",
    "mixed": "from different runs of spectral clustering and of k-means",
    "words": "from the words that cover the images",
}


@dataclass(frozen=True)
class EncoderSetup:
    """The network that turned images into embeddings.

    Attributes:
        name: of the backbone.
        is_pretrained: whether it came with weights.
        is_trained: whether this run trained it.
    """

    name: str
    is_pretrained: bool
    is_trained: bool


@dataclass(frozen=True)
class HeadSetup:
    """How the clustering heads were trained.

    Attributes:
        objective: what for.
        start: what they started from.
        num_heads: how many there were.
        loss: the loss under the objective "prototypes".
        entropy_weight: weight of the entropy term of that loss, which may take it below 0.
        guidance: whether words guided the heads, and why; empty if they were not asked.
    """

    objective: Objective = "prototypes"
    start: Start = "random"
    num_heads: int = 10
    loss: SelfLoss = "double-softmax"
    entropy_weight: float = 0.0
    guidance: str = ""

    def loss_floor(self, num_clusters: int) -> float | None:
        """Returns the lowest value that the loss can reach if it is the plain double softmax.

        Args:
            num_clusters: K.

        Returns:
            ln(1 + (K - 1) / e), in nats; None for any other loss. SPICE (arXiv 2103.09382) Eq. 4.
        """
        is_plain = self.loss == "double-softmax" and self.entropy_weight == 0
        if self.objective != "prototypes" or not is_plain:
            return None
        return double_softmax_floor(num_clusters)


@dataclass(frozen=True)
class SemiSetup:
    """What SPICE-Semi was trained on.

    Attributes:
        labels_from: reliable labels, these with a person's corrections, or true ones on request.
        labels_per_class: how many true ones of each class.
    """

    labels_from: LabelsFrom
    labels_per_class: int


@dataclass(frozen=True)
class PartsSetup:
    """What was done with the parts of a data set, in numbers of images.

    Attributes:
        protocol: whether test images are clustered with the others, or only reported on.
        num_pretrained: images the encoder was pretrained on.
        num_clustered: images that were clustered.
        num_test: images of the test part.
        duplicates_removed: extra images left out as duplicates of test images; None where that
            was not asked for.
    """

    protocol: Protocol
    num_pretrained: int
    num_clustered: int
    num_test: int
    duplicates_removed: int | None


@dataclass(frozen=True)
class Setup:
    """How a run was set up.

    Attributes:
        encoder: None where embeddings were given.
        heads: the clustering heads.
        semi: None where SPICE-Semi did not run.
        parts: None where the data set has one part.
    """

    encoder: EncoderSetup | None
    heads: HeadSetup
    semi: SemiSetup | None = None
    parts: PartsSetup | None = None


def notices(setup: Setup) -> tuple[str, ...]:
    """Says what a reader must know to judge the result.

    Args:
        setup: of the run.

    Returns:
        A paragraph for each way in which labels had a part in the result; none as a rule.
    """
    found = []
    if setup.semi is not None and setup.semi.labels_from == "source":
        found.append(
            f"True labels were used for training: as the configuration asks, SPICE-Semi was given "
            f"{setup.semi.labels_per_class} labelled images of each class. Its groups are these "
            "classes, and its figures measure semi-supervised learning, not clustering."
        )
    if setup.encoder is not None and setup.encoder.is_pretrained:
        found.append(
            f"The encoder, {setup.encoder.name}, started from weights that were trained on other "
            "images with labels (those of ImageNet, unless the source of the weights says "
            "otherwise). It finds groups that resemble those classes more easily than others, and "
            "figures for such classes are not free of labels."
        )
    return tuple(found)


def choices(setup: Setup, metrics: Mapping[str, Any]) -> Lines:
    """Says how the run was set up.

    Args:
        setup: of the run.
        metrics: figures of each method, and under "train" those of the train images of a split.

    Returns:
        Pairs of what was set up and how.
    """
    lines = [
        ("Encoder", _encoder(setup)),
        ("Clustering heads", OBJECTIVES[setup.heads.objective]),
    ]
    if setup.heads.guidance:
        lines.append(("Words", setup.heads.guidance))
    if setup.encoder is not None:
        lines.append(("SPICE-Semi", _semi(setup.semi)))
    if setup.parts is not None:
        lines += _parts(setup.parts)
        lines += _train_figures(metrics.get("train") or {})
    return tuple(lines)


def _encoder(setup: Setup) -> str:
    encoder, parts = setup.encoder, setup.parts
    if encoder is None:
        return "none: the embeddings were given"
    split = parts is not None and parts.protocol == "split"
    images = "the train images" if split else "these images"
    if not encoder.is_trained:
        return f"{encoder.name}: pretrained weights, not trained further"
    if encoder.is_pretrained:
        return f"{encoder.name}: pretrained weights, trained further on {images} with MoCo v2"
    return f"{encoder.name}: trained from scratch on {images} with MoCo v2"


_LABELS: dict[LabelsFrom, str] = {
    "reliable": "the reliable labels",
    "edits": "the reliable labels, corrected by a person,",
    "source": "true labels",
}


def _semi(semi: SemiSetup | None) -> str:
    if semi is None:
        return "not run"
    labels = _LABELS[semi.labels_from]
    return f"a classifier trained with FixMatch on {labels} and all unlabelled images"


def _parts(parts: PartsSetup) -> Lines:
    shown = (
        f"the {parts.num_test} test images, which no stage saw"
        if parts.protocol == "split"
        else "all images that were clustered"
    )
    protocol = (
        f"{parts.protocol}: {parts.num_pretrained} images to pretrain on, {parts.num_clustered} to "
        f"cluster. This page shows {shown}"
    )
    if parts.duplicates_removed is None:
        return (("Protocol", protocol),)
    removed = f"{parts.duplicates_removed} extra images equal to a test image were left out"
    return ("Protocol", protocol), ("Duplicates", removed)


def _train_figures(metrics: Mapping[str, Any]) -> Lines:
    """States the figures of the images that a split trained on, beside those of the page."""
    measured = {name: metrics.get(name) or {} for name in METHOD_NAMES}
    return tuple(
        (
            f"{METHOD_NAMES[name]}, train images",
            ", ".join(f"{key.upper()} {figures[key]:.3f}" for key in ("acc", "nmi", "ari")),
        )
        for name, figures in measured.items()
        if figures.get("acc") is not None
    )
