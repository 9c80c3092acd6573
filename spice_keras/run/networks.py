"""The networks of a run on disk: weights, and the facts that rebuild them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self
from weakref import WeakKeyDictionary

import keras
import numpy as np

from spice_keras.backbones.factory import build_backbone
from spice_keras.backbones.folding import fold_batch_normalization
from spice_keras.backbones.pretrained import pretrained_backbone
from spice_keras.config import RunConfig
from spice_keras.data.batches import inference_batches
from spice_keras.errors import UserError
from spice_keras.files import write_json
from spice_keras.models.clusterer import clusterer_from_network
from spice_keras.models.spice_semi import classification_network
from spice_keras.options import BackboneOptions, PretrainedSpec
from spice_keras.run.context import Context
from spice_keras.run.directory import RunDirectory
from spice_keras.run.store import Classifier, Heads
from spice_keras.training.checkpoints import save_weights

_FACTS, _WEIGHTS = "network.json", "network.weights.h5"

# The folded encoder a run used last, and what tells another: building it takes seconds, and
# embedding, evaluation and export need it. It goes with the run.
_kept: WeakKeyDictionary[RunDirectory, tuple[object, keras.Model]] = WeakKeyDictionary()


def build_encoder(
    backbone: BackboneOptions, *, image_size: int, seed: int, bn_groups: int = 1
) -> keras.Model:
    """Build the encoder a configuration names, for weights that are trained or loaded next."""
    return build_backbone(backbone, image_size=image_size, bn_groups=bn_groups, seed=seed)


def build_initial_encoder(
    backbone: BackboneOptions, *, image_size: int, seed: int, bn_groups: int = 1
) -> keras.Model:
    """Build the encoder pretraining begins with: with its published weights, if it has any."""
    if isinstance(backbone.spec, PretrainedSpec):
        return pretrained_backbone(backbone.name, image_size=image_size)
    return build_encoder(backbone, image_size=image_size, seed=seed, bn_groups=bn_groups)


def save_network(
    folder: Path, network: keras.Model, backbone: BackboneOptions, *, image_size: int
) -> None:
    """Write a network's weights with the facts that rebuild it."""
    save_weights(network, folder / _WEIGHTS)
    write_json(folder / _FACTS, {"backbone": backbone.model_dump(), "image_size": image_size})


def load_network(folder: Path, network: keras.Model, backbone: BackboneOptions) -> None:
    """Load weights into a network built from the same facts.

    Raises:
        UserError: If the weights belong to another network, or are damaged.
    """
    _refuse_other(folder, _saved_facts(folder)[0], backbone)
    _load_weights(folder, network)


def _load_weights(folder: Path, network: keras.Model) -> None:
    """Load weights that lie beside their facts.

    Raises:
        UserError: If they are damaged, or another network's.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Keras only warns of layers that it leaves out
            network.load_weights(folder / _WEIGHTS)
    except Exception as error:  # a damaged file of HDF5 raises nearly anything
        raise UserError(_foreign(folder / _WEIGHTS, error)) from error


def _saved_facts(folder: Path) -> tuple[BackboneOptions, int]:
    """What saved weights were built from, and the side of the images; older than some options.

    Raises:
        UserError: If the facts are damaged.
    """
    try:
        facts = json.loads((folder / _FACTS).read_text("utf-8"))
        return BackboneOptions.model_validate(facts["backbone"]), int(facts["image_size"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError, OverflowError) as error:
        raise UserError(_foreign(folder / _FACTS, error)) from error


def _foreign(file: Path, error: Exception) -> str:
    said = " ".join(str(error).split())[:200]
    return (
        f"{file} does not hold what the run needs ({type(error).__name__}: {said}). Begin a new "
        "run in another folder (--run-dir)."
    )


def _refuse_other(folder: Path, saved: BackboneOptions, asked: BackboneOptions) -> None:
    if saved != asked:
        raise UserError(
            f"The weights in {folder} belong to {saved.model_dump()}, the configuration asks for "
            f"{asked.model_dump()}. Use another run directory."
        )


@dataclass(frozen=True)
class Encoder:
    """What pretraining leaves: the query encoder, or a pretrained one as it came.

    Attributes:
        network: uint8 images [B, S, S, 3] to features [B, D].
        backbone: What it was built from.
    """

    name: ClassVar[str] = "encoder"
    stage: ClassVar[str] = "pretrain"
    command: ClassVar[str] = "pretrain"

    network: keras.Model
    backbone: BackboneOptions

    @property
    def image_size(self) -> int:
        """Side S of the images it takes, in pixels."""
        side: int = self.network.input_shape[1]
        return side

    def save(self, folder: Path) -> None:
        """Write it."""
        save_network(folder, self.network, self.backbone, image_size=self.image_size)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Rebuild it, not trainable."""
        backbone, side = _saved_facts(folder)
        network = build_encoder(backbone, image_size=side, seed=0)
        _load_weights(folder, network)
        network.trainable = False
        return cls(network, backbone)


def pretrained_encoder(context: Context, *, fold: bool = True) -> keras.Model:
    """Rebuild the encoder that pretraining left, in inference mode.

    Args:
        context: The run.
        fold: Merge batch normalisation into the convolutions: the same function, faster.

    Returns:
        uint8 images [B, S, S, 3] to features [B, D], not trainable. The folded one is shared by all
        who ask during a run: leave its weights as they are.

    Raises:
        UserError: If the encoder is another one than the configuration's.
    """
    folder = context.run.read(Encoder.name, written_by=Encoder.command)
    return _encoder_in(folder, context, fold=fold)


def head_encoder(context: Context) -> keras.Model:
    """Rebuild the encoder that the chosen head reads: the pretrained one, unless it moved."""
    moved = Heads.encoder_folder((context.train_part or context).folder(Heads))
    if moved.is_dir():
        return _encoder_in(moved, context, fold=True)
    return pretrained_encoder(context)


def _encoder_in(folder: Path, context: Context, *, fold: bool) -> keras.Model:
    _refuse_other(folder, _saved_facts(folder)[0], context.config.backbone)
    if not fold:
        return Encoder.load(folder).network
    file = (folder / _WEIGHTS).stat()
    stamp = (folder, file.st_ino, file.st_mtime_ns, keras.config.dtype_policy().name)
    kept, network = _kept.get(context.run, (None, None))
    if network is None or kept != stamp:
        network = fold_batch_normalization(Encoder.load(folder).network)
        _kept[context.run] = stamp, network
    return network


def chosen_head(context: Context) -> keras.Model:
    """Rebuild the chosen head: features [B, D] to logits [B, K]."""
    heads = (context.train_part or context).load(Heads)
    if heads.head is None:
        raise ValueError("The artifact `heads` of a test part names no head.")
    return heads.classifier(context.space).head_model(heads.head)


def merged_clusters(context: Context) -> list[int] | None:
    """Return the cluster that each of the network's own went into; None if they are the run's."""
    folder = context.folder(Classifier if context.config.semi.enabled else Heads)
    path = Heads.merge_file(folder)
    return np.load(path, allow_pickle=False).tolist() if path.is_file() else None


def merged_probabilities(probabilities: np.ndarray, merge: Sequence[int]) -> np.ndarray:
    """Put the probabilities of clusters together that a person merged, as the model does.

    Args:
        probabilities: Of the network's own clusters. Shape: (num_samples, K).
        merge: The cluster that each of them went into. Shape: (K,).

    Returns:
        The largest of each one's parts, normalised; float32. Shape: (num_samples, max(merge) + 1).
    """
    found = np.zeros((len(probabilities), max(merge) + 1), np.float32)
    for cluster, into in enumerate(merge):
        found[:, into] = np.maximum(found[:, into], probabilities[:, cluster])
    merged: np.ndarray = found / found.sum(axis=1, keepdims=True)
    return merged


def semi_backbone(config: RunConfig) -> BackboneOptions:
    """Return the network SPICE-Semi trains: its own, or the pretrained one's."""
    return config.semi.backbone or config.backbone


def semi_network(context: Context) -> keras.Model:
    """Rebuild SPICE-Semi's averaged network: uint8 images [B, S, S, 3] to logits [B, K].

    If a person merged clusters, these are the network's own, before that.
    """
    backbone, config = semi_backbone(context.config), context.config
    encoder = build_encoder(backbone, image_size=config.data.image_size, seed=0)
    merge = merged_clusters(context)
    network = classification_network(encoder, config.num_clusters if merge is None else len(merge))
    folder = context.run.read(Classifier.name, written_by=Classifier.command)
    load_network(folder, network, backbone)
    return network


def classified(network: keras.Model, images: np.ndarray) -> Classifier:
    """Ask SPICE-Semi's averaged network about images.

    Args:
        network: From `semi_network`, or the model's own.
        images: uint8 [N, S, S, 3].

    Returns:
        Probabilities [N, K] and embeddings [N, D] of unit length.
    """
    batches = inference_batches(images, 256).map(lambda batch: batch["image"])
    outputs = clusterer_from_network(network).predict(batches, verbose=0)
    return Classifier(outputs["probabilities"], outputs["embedding"])
