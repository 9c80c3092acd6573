"""Stage 2, self-labelling: clustering heads on the frozen encoder, and the choice of one."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from spice_keras.augment.policies import build_policy
from spice_keras.data.batches import training_batches
from spice_keras.files import write_json
from spice_keras.heads.classifier import MultiHeadClassifier
from spice_keras.heads.feature_bank import FeatureBank
from spice_keras.heads.objectives import (
    Batches,
    Heads,
    SelfLabeling,
    neighbor_labeling,
    prototype_labeling,
    refinement,
)
from spice_keras.heads.selection import HeadHistory, HeadSelection, head_logits
from spice_keras.heads.spice_self import SpiceSelf
from spice_keras.run.context import Context
from spice_keras.stages.assignment import Assignment
from spice_keras.stages.embed import read_embeddings
from spice_keras.stages.moving_encoder import (
    chosen_features,
    encoder_for_heads,
    head_selection,
    save_head_encoder,
)
from spice_keras.training.checkpoints import Checkpoints
from spice_keras.training.loop import Schedule, Watch, fit_resumable


@dataclass(frozen=True)
class SelfResult(Assignment):
    """What self-labelling leaves.

    Attributes:
        assignments: int32 [H, N], the clusters of every head at the chosen epoch.
        head: The chosen head.
        epoch: The epoch it was chosen at, from 0.
        loss: Its loss over the whole set.
        unrefined: int32 [N], the clusters SPICE-Self chose before the refinement; None where
            there was none.
    """

    assignments: np.ndarray
    head: int
    epoch: int
    loss: float
    unrefined: np.ndarray | None


def build_self_labeling(context: Context, bank: FeatureBank) -> SelfLabeling:
    """Bind the objective the configuration asks for to the feature bank."""
    config, plan = context.config, context.plan.self_labeling
    section, neighbors = config.self_labeling, config.self_labeling.neighbors
    heads = Heads(
        num_clusters=config.num_clusters,
        num_heads=section.num_heads,
        start=section.start,
        input_scale=config.head_input_scale,
        epochs=plan.epochs,
        learning_rate=section.learning_rate,
        seed=context.seed("self"),
    )
    if section.objective == "neighbors":
        return neighbor_labeling(
            bank,
            replace(heads, learning_rate=neighbors.learning_rate),
            entropy_weight=neighbors.entropy_weight,
            hidden_dim=neighbors.hidden_dim,
            batch_size=plan.pairs_per_step,
        )
    from_images = context.has_images and section.cached_views is None
    return prototype_labeling(
        bank,
        heads,
        large_batch=plan.large_batch,
        hidden_dim=section.hidden_dim,
        confident_ratio=section.confident_ratio,
        batch_size=section.batch_size,
        num_repeats=section.num_repeats,
        feature_batch=section.feature_batch,
        variant=section.variant,
        encoder=encoder_for_heads(context) if from_images else None,
        image_batches=_image_batches(context, bank) if from_images else None,
    )


def build_refinement(
    context: Context, bank: FeatureBank, weights: list[np.ndarray]
) -> SelfLabeling:
    """Bind neighbour consistency to the heads SPICE-Self has trained."""
    section = context.config.self_labeling
    heads = Heads(
        num_clusters=context.config.num_clusters,
        num_heads=section.num_heads,
        input_scale=context.config.head_input_scale,
        epochs=section.refine_epochs,
        learning_rate=section.neighbors.learning_rate,
        seed=context.seed("refine"),
    )
    return refinement(
        bank,
        heads,
        weights,
        hidden_dim=section.hidden_dim,
        entropy_weight=section.neighbors.entropy_weight,
        batch_size=context.plan.self_labeling.pairs_per_step,
    )


def _image_batches(context: Context, bank: FeatureBank) -> Batches:
    section, plan = context.config.self_labeling, context.plan.self_labeling

    def batches(first_epoch: int) -> tf.data.Dataset:
        return training_batches(
            context.images,
            views={"weak": build_policy(section.weak), "strong": build_policy(section.strong)},
            batch_size=plan.large_batch,
            seed=context.seed("self batches"),
            first_epoch=first_epoch,
            epochs=plan.epochs - first_epoch,
            extras={"embedding": bank.normalized},
        )

    return batches


def _save(
    context: Context,
    classifier: MultiHeadClassifier,
    features: np.ndarray,
    choices: dict[str, HeadSelection],
    unrefined: np.ndarray | None,
) -> None:
    choice = choices["refine" if "refine" in choices else "self"]
    classifier.set_weights(choice.weights)
    logits = head_logits(classifier, features)
    with context.run.write("heads", stage="self") as folder:
        probabilities = tf.nn.softmax(logits[choice.head]).numpy()
        np.save(folder / "probabilities.npy", probabilities, allow_pickle=False)
        assignments = logits.argmax(axis=2).astype(np.int32)
        np.save(folder / "assignments.npy", assignments, allow_pickle=False)
        if unrefined is not None:
            np.save(folder / "unrefined.npy", unrefined, allow_pickle=False)
        weights = {f"weight_{i}": weight for i, weight in enumerate(choice.weights)}
        np.savez(folder / "weights.npz", **weights)  # type: ignore[arg-type]
        facts = {"head": choice.head, "epoch": choice.epoch, "loss": choice.loss}
        write_json(folder / "selection.json", facts)
        save_head_encoder(context, choice, folder)
        for phase, judged in choices.items():
            _save_history(folder / f"history-{phase}.npz", judged)
    used = len(np.unique(assignments[choice.head]))
    context.screen.say(
        f"self: head {choice.head} of epoch {choice.epoch + 1} has the smallest loss, "
        f"{choice.loss:.4f}; it uses {used} of {context.config.num_clusters} clusters."
    )


def _save_history(path: Path, choice: HeadSelection) -> None:
    """Write what every head said after each epoch, and which of them was chosen."""
    past = {} if choice.history is None else choice.history.arrays()
    chosen = np.array([choice.epoch, choice.head], np.int32)
    first = np.array(choice.first_epoch, np.int32)
    np.savez_compressed(path, chosen=chosen, first_judged=first, **past)  # type: ignore[arg-type]


def self_label(context: Context) -> None:
    """Train the clustering heads, choose one, and write the artifact `heads`.

    Args:
        context: The run; its encoder and embeddings are there.
    """
    section, plan = context.config.self_labeling, context.plan.self_labeling
    bank = read_embeddings(context)
    labeling = build_self_labeling(context, bank)
    first_judged = min(int(section.select_from * plan.epochs), plan.epochs - 1)
    history = HeadHistory(plan.epochs)
    choice = head_selection(context, labeling, bank, first_judged, history)
    choices = {"self": choice}
    _fit(context, "self", labeling, choice, plan.epochs)
    if isinstance(labeling.model, SpiceSelf):
        choice.weights = labeling.model.plain_weights(choice.weights)
    features = chosen_features(context, choice, bank)
    unrefined = None
    if section.refine_epochs:
        classifier = labeling.model.classifier
        classifier.set_weights(choice.weights)
        unrefined = head_logits(classifier, bank.features)[choice.head].argmax(axis=1)
        labeling = build_refinement(context, bank, choice.weights)
        last, history = section.refine_epochs - 1, HeadHistory(section.refine_epochs)
        choices["refine"] = HeadSelection(bank.features, labeling.losses, last, history)
        _fit(context, "refine", labeling, choices["refine"], section.refine_epochs)
    _save(context, labeling.model.classifier, features, choices, unrefined)
    for phase in ("self", "refine"):
        Checkpoints(context.run.checkpoints / phase).clear()


def _fit(
    context: Context, phase: str, labeling: SelfLabeling, choice: HeadSelection, epochs: int
) -> None:
    section = context.config.self_labeling
    fit_resumable(
        labeling.model,
        labeling.batches,
        stage=phase,
        schedule=Schedule(
            epochs, labeling.steps_per_epoch, section.checkpoint_every, labeling.items_per_step
        ),
        checkpoints=Checkpoints(context.run.checkpoints / phase),
        watch=Watch(
            context.screen,
            {"loss": "loss {:.4f}", "cluster_entropy": "balance {:.2f}"},
            lambda row: context.log(phase, row),
            lambda epoch: context.run.forget_metrics(phase, from_epoch=epoch),
            (choice,),
        ),
    )


def read_self(context: Context) -> SelfResult:
    """Read the artifact `heads`."""
    chosen = context.run.read("heads", written_by="self")
    facts = json.loads((chosen / "selection.json").read_text("utf-8"))
    folder = context.read("heads", written_by="self")
    return SelfResult(
        np.load(folder / "probabilities.npy", allow_pickle=False),
        np.load(folder / "assignments.npy", allow_pickle=False),
        facts["head"],
        facts["epoch"],
        facts["loss"],
        np.load(folder / "unrefined.npy", allow_pickle=False)
        if (folder / "unrefined.npy").exists()
        else None,
    )


def read_histories(context: Context) -> dict[str, dict[str, np.ndarray]]:
    """Read what every head said after each epoch.

    Returns:
        "self", and "refine" where that ran, to the arrays of `HeadHistory` and `chosen` (epoch
        and head) and `first_judged`; neither in a run of an older version.
    """
    folder = context.run.read("heads", written_by="self")
    found = {}
    for phase in ("self", "refine"):
        path = folder / f"history-{phase}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as archive:
                found[phase] = dict(archive)
    return found


def read_classifier(context: Context) -> MultiHeadClassifier:
    """Rebuild all heads, as they were when one of them was chosen."""
    folder = context.run.read("heads", written_by="self")
    with np.load(folder / "weights.npz", allow_pickle=False) as archive:
        weights = [archive[f"weight_{i}"] for i in range(len(archive.files))]
    section = context.config.self_labeling
    paper = section.objective == "prototypes"
    classifier = MultiHeadClassifier(
        len(weights[0]),
        context.config.num_clusters,
        section.hidden_dim if paper else section.neighbors.hidden_dim,
        linear=not paper and section.neighbors.hidden_dim is None,
        input_scale=context.config.head_input_scale,
    )
    classifier.build((None, weights[0].shape[1]))
    classifier.set_weights(weights)
    return classifier


def read_chosen_head(context: Context) -> keras.Model:
    """Rebuild the chosen head: features [B, D] to logits [B, K]."""
    return read_classifier(context).head_model(read_self(context).head)
