"""Stage 2, SPICE-Self: clustering heads on the frozen encoder, and the choice of one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from spice_keras.algorithm.head_selection import head_losses
from spice_keras.artifacts import write_json
from spice_keras.data.batches import training_batches
from spice_keras.models.spice_self import SpiceSelf
from spice_keras.stages.assignment import Assignment
from spice_keras.stages.context import Context, policy_of
from spice_keras.stages.embed import Embeddings, read_embeddings
from spice_keras.stages.encoder import load_encoder
from spice_keras.training.callbacks import CarriesState
from spice_keras.training.checkpoints import Checkpoints
from spice_keras.training.loop import Schedule, Watch, compile_for_device, fit_resumable


@dataclass(frozen=True)
class SelfResult(Assignment):
    """What SPICE-Self leaves.

    Attributes:
        assignments: int32 [H, N], the clusters of every head at the chosen epoch.
        head: The chosen head.
        epoch: The epoch it was chosen at, from 0.
        loss: Its loss over the whole set.
    """

    assignments: np.ndarray
    head: int
    epoch: int
    loss: float


class HeadSelection(CarriesState):
    """Keeps the weights of the epoch and the head with the smallest loss over the whole set.

    Args:
        embeddings: Of the un-augmented images.
        confident_ratio: r of the prototypes.

    SPICE (arXiv 2103.09382) Sec. 3.2: the loss chooses, labels do not.
    """

    def __init__(self, embeddings: Embeddings, confident_ratio: float) -> None:
        super().__init__()
        self._embeddings, self._ratio = embeddings, confident_ratio
        self.loss, self.epoch, self.head = np.inf, -1, -1
        self.weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Score every head and keep the best seen."""
        logits = head_logits(self.model, self._embeddings.features)
        losses = head_losses(self._embeddings.normalized, logits, self._ratio)
        head = int(np.argmin(losses))
        if losses[head] < self.loss:
            self.loss, self.epoch, self.head = float(losses[head]), epoch, head
            self.weights = self.model.classifier.get_weights()
        if logs is not None:
            logs["head_losses"] = [float(loss) for loss in losses]
            logs["selected_loss"] = self.loss

    def state(self) -> dict[str, np.ndarray]:
        """Return the choice so far."""
        weights = {f"weight_{i}": weight for i, weight in enumerate(self.weights)}
        chosen = np.array([self.loss, self.epoch, self.head], np.float64)
        return {"chosen": chosen, **weights}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take a choice back."""
        loss, epoch, head = state["chosen"]
        self.loss, self.epoch, self.head = float(loss), int(epoch), int(head)
        self.weights = [state[f"weight_{i}"] for i in range(len(state) - 1)]


def head_logits(model: SpiceSelf, features: np.ndarray, block: int = 4096) -> np.ndarray:
    """Return the logits of every head, float32 [H, N, K], by blocks of rows."""
    blocks = [
        model(tf.convert_to_tensor(features[start : start + block])).numpy()
        for start in range(0, len(features), block)
    ]
    return np.concatenate(blocks, axis=1)


def build_spice_self(
    context: Context, feature_dim: int, encoder: keras.Model | None = None
) -> SpiceSelf:
    """Build and compile SPICE-Self as the configuration asks."""
    section = context.config.self_labeling
    model = SpiceSelf(
        context.config.num_clusters,
        feature_dim,
        encoder=encoder,
        num_heads=section.num_heads,
        hidden_dim=section.hidden_dim,
        confident_ratio=section.confident_ratio,
        batch_size=section.batch_size,
        num_repeats=section.num_repeats,
        feature_batch=section.feature_batch,
        seed=context.seed("self"),
    )
    # PyTorch's epsilon: the gradients of the double softmax are small.
    optimizer = keras.optimizers.Adam(section.learning_rate, epsilon=1e-8)
    compile_for_device(model, optimizer)
    model.optimizer.build(model.trainable_variables)
    return model


def _save(context: Context, model: SpiceSelf, choice: HeadSelection) -> None:
    model.classifier.set_weights(choice.weights)
    logits = head_logits(model, read_embeddings(context).features)
    with context.run.write("heads", stage="self") as folder:
        probabilities = tf.nn.softmax(logits[choice.head]).numpy()
        np.save(folder / "probabilities.npy", probabilities, allow_pickle=False)
        assignments = logits.argmax(axis=2).astype(np.int32)
        np.save(folder / "assignments.npy", assignments, allow_pickle=False)
        weights = {f"weight_{i}": weight for i, weight in enumerate(choice.weights)}
        np.savez(folder / "weights.npz", **weights)  # type: ignore[arg-type]
        facts = {"head": choice.head, "epoch": choice.epoch, "loss": choice.loss}
        write_json(folder / "selection.json", facts)
    used = len(np.unique(assignments[choice.head]))
    context.screen.say(
        f"self: head {choice.head} of epoch {choice.epoch + 1} has the smallest loss, "
        f"{choice.loss:.4f}; it uses {used} of {context.config.num_clusters} clusters."
    )


def self_label(context: Context) -> None:
    """Train the clustering heads, choose one, and write the artifact `heads`.

    Args:
        context: The run; its encoder and embeddings are there.
    """
    config, plan = context.config, context.plan
    section, size = config.self_labeling, config.data.image_size
    embeddings = read_embeddings(context)
    folder = context.run.read("encoder", written_by="pretrain")
    encoder = load_encoder(folder, config.backbone, image_size=size)
    model = build_spice_self(context, embeddings.features.shape[1], encoder)
    choice = HeadSelection(embeddings, section.confident_ratio)
    checkpoints = Checkpoints(context.run.checkpoints / "self")

    def batches(first_epoch: int) -> tf.data.Dataset:
        return training_batches(
            context.images,
            views={"weak": policy_of(section.weak), "strong": policy_of(section.strong)},
            batch_size=plan.large_batch,
            seed=context.seed("self batches"),
            first_epoch=first_epoch,
            epochs=plan.self_epochs - first_epoch,
            extras={"embedding": embeddings.normalized},
        )

    fit_resumable(
        model,
        batches,
        stage="self",
        schedule=Schedule(
            plan.self_epochs, plan.iterations_per_epoch, section.checkpoint_every, plan.large_batch
        ),
        checkpoints=checkpoints,
        watch=Watch(
            context.screen,
            {"loss": "loss {:.4f}", "cluster_entropy": "balance {:.2f}"},
            lambda row: context.log("self", row),
            lambda epoch: context.run.forget_metrics("self", from_epoch=epoch),
            (choice,),
        ),
    )
    _save(context, model, choice)
    checkpoints.clear()


def read_self(context: Context) -> SelfResult:
    """Read the artifact `heads`."""
    folder = context.run.read("heads", written_by="self")
    facts = json.loads((folder / "selection.json").read_text("utf-8"))
    return SelfResult(
        np.load(folder / "probabilities.npy", allow_pickle=False),
        np.load(folder / "assignments.npy", allow_pickle=False),
        facts["head"],
        facts["epoch"],
        facts["loss"],
    )


def read_chosen_head(context: Context) -> keras.Model:
    """Rebuild the chosen head: features [B, D] to logits [B, K]."""
    folder = context.run.read("heads", written_by="self")
    with np.load(folder / "weights.npz", allow_pickle=False) as archive:
        weights = [archive[f"weight_{i}"] for i in range(len(archive.files))]
    model = build_spice_self(context, weights[0].shape[1])
    model.classifier.set_weights(weights)
    head: keras.Model = model.classifier.head_model(read_self(context).head)
    return head
